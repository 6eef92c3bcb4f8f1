#include "common/parallel.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>

namespace autoal {
namespace {

int default_threads() {
  for (const char* name : {"AUTOAL_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const char* e = std::getenv(name)) {
      const int n = std::atoi(e);
      if (n > 0) return n;
    }
#if defined(__linux__)
  cpu_set_t set;  // what the scheduler lets this process use (taskset, containers)
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

std::atomic<int>& threads_setting() {
  static std::atomic<int> n{default_threads()};
  return n;
}

}  // namespace

int num_threads() { return threads_setting().load(std::memory_order_relaxed); }
void set_num_threads(int n) { threads_setting().store(std::max(1, n), std::memory_order_relaxed); }

namespace {

thread_local bool inside = false;

class Pool {
 public:
  void run(int64_t chunks, int threads, const std::function<void(int64_t)>& f) {
    {
      std::lock_guard<std::mutex> g(m_);
      while (static_cast<int>(workers_.size()) < threads - 1) workers_.emplace_back([this] { work(); });
      job_ = &f;
      chunks_ = chunks;
      next_ = 0;
      left_ = chunks;
      extra_ = threads - 1;
      error_ = nullptr;
      std::fegetenv(&environment_);
      ++generation_;
    }
    start_.notify_all();
    inside = true;
    take();
    inside = false;
    std::unique_lock<std::mutex> g(m_);
    done_.wait(g, [&] { return left_ == 0; });
    job_ = nullptr;
    if (error_) {
      std::exception_ptr e = error_;
      error_ = nullptr;
      std::rethrow_exception(e);
    }
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> g(m_);
      stop_ = true;
    }
    start_.notify_all();
    for (std::thread& t : workers_) t.join();
  }

 private:
  void work() {
    inside = true;
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> g(m_);
        start_.wait(g, [&] { return stop_ || generation_ != seen; });
        if (stop_) return;
        seen = generation_;
        if (extra_ == 0) continue;
        --extra_;
        std::fesetenv(&environment_);  // a caller that flushes subnormal numbers gets one answer, not two
      }
      take();
    }
  }

  void take() {
    for (;;) {
      const std::function<void(int64_t)>* f;
      int64_t k;
      {
        std::lock_guard<std::mutex> g(m_);
        if (!job_ || next_ >= chunks_) return;
        f = job_;
        k = next_++;
      }
      std::exception_ptr e;
      try {
        (*f)(k);
      } catch (...) {
        e = std::current_exception();
      }
      std::lock_guard<std::mutex> g(m_);
      if (e && !error_) error_ = e;
      if (--left_ == 0) done_.notify_all();
    }
  }

  std::mutex m_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  const std::function<void(int64_t)>* job_ = nullptr;
  int64_t chunks_ = 0, next_ = 0, left_ = 0;
  int extra_ = 0;  // workers that may still join this job
  uint64_t generation_ = 0;
  std::fenv_t environment_;
  std::exception_ptr error_;
  bool stop_ = false;
};

std::mutex* use_mutex = new std::mutex;  // one parallel region at a time; never freed
Pool* pool = nullptr;                    // guarded by use_mutex; leaked at exit on purpose

void before_fork() { use_mutex->lock(); }
void after_fork_parent() { use_mutex->unlock(); }
void after_fork_child() {
  pool = nullptr;  // its threads do not exist here: leave the old object alone
  use_mutex = new std::mutex;
}

}  // namespace

void parallel_for(int64_t chunks, const std::function<void(int64_t)>& f) {
  const int threads = static_cast<int>(std::min<int64_t>(chunks, num_threads()));
  if (threads <= 1 || inside) {
    for (int64_t k = 0; k < chunks; ++k) f(k);
    return;
  }
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(before_fork, after_fork_parent, after_fork_child); });
  std::unique_lock<std::mutex> g(*use_mutex, std::try_to_lock);
  if (!g.owns_lock()) {  // another Python thread has the pool: do it here
    for (int64_t k = 0; k < chunks; ++k) f(k);
    return;
  }
  if (!pool) pool = new Pool;
  pool->run(chunks, threads, f);
}

}  // namespace autoal
