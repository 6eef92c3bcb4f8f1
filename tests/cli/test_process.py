"""The program as a process: signals, pipes, exit codes."""

import os
import signal
import subprocess
import sys
import time

PROGRAM = [sys.executable, "-m", "autoal"]


def test_interrupted_it_leaves_whole_cells_and_says_what_to_do(tmp_path):
    words = ["run", "--dataset", "digits", "--strategy", "random", "--rounds", "1", "--seeds", "2000", "--quiet"]
    process = subprocess.Popen([*PROGRAM, *words, "--out", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        while not list((tmp_path / "cells").glob("*.jsonl")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert printed.splitlines()[1:] == ["autoal: interrupted; the same command goes on where it was"]
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    assert all(len(path.read_text().splitlines()) == 2 for path in (tmp_path / "cells").iterdir())


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([*PROGRAM, "strategies"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert process.returncode == 0 and process.stderr == ""
