"""Benchmarks: this library beside what a user would pick instead, on the same bytes, in one run.

`python -m benchmarks.bench_stream` asks one question: how fast, how soon, in how much memory and
with what effect on everything else in the event loop does one big list of jobs become objects?
`python -m benchmarks.bench_bulk` asks it for hundreds of lists, 32 at a time,
`python -m benchmarks.bench_memory` asks for ten thousand lists in how much memory, and
`python -m benchmarks.bench_throttled` how long they take where the server limits the rate.

The parts, for whoever adds a contender or a question:

- `_data`: seeded documents whose sums are known before anyone parses them
- `_server`: a static server in a process of its own, and its ceiling
- `_limited`: servers with a rate limit, which remember every request
- `contenders`: one small module each; every run is a new process
- `_measure`: what is measured inside that process
- `_processes`: starting, timing out and stopping the processes
- `_pairs`: adjacent pairs and the medians of their ratios
- `_report`: heading and table
- `_command`: what the command lines have in common

What all of it leaves out: a real network, TLS and compression. Where the line is slower than the
parsing, the jobs per second of all contenders meet at the line's own speed, and what remains are
the time to the first job, the memory and the stalls.
"""
