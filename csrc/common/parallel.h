// A small thread pool in place of OpenMP, which hangs in forked children and spins at barriers on busy machines.
#pragma once
#include <cstdint>
#include <functional>

namespace autoal {

int num_threads();
void set_num_threads(int n);  // n >= 1

// How many chunks of `grain` items n items make. It does not depend on the number of
// threads, so neither does a result that is put together chunk by chunk.
inline int64_t chunks_of(int64_t n, int64_t grain) { return n <= 0 ? 1 : (n + grain - 1) / grain; }

// Calls f(0) .. f(chunks - 1), on the caller and the pool's threads. The first
// exception thrown by f is thrown here, after all chunks are done. Nested calls run
// on the caller alone. Safe after fork(): a child starts with an empty pool.
void parallel_for(int64_t chunks, const std::function<void(int64_t)>& f);

}  // namespace autoal
