"""Benchmarks: this library beside what a user would pick instead, on the same bytes, in one run.

`python -m benchmarks` asks four questions of every contender, or the one that is named after it,
and leaves tables, figures and charts in `benchmarks/results`:

- `stream`: how fast, how soon, in how much memory and with what effect on everything else in the
  event loop does one big list of jobs become objects, and what does its size cost?
- `bulk`: the same for hundreds of lists, 32 at a time
- `structure`: how much of it is making objects, without a network?
- `latency`: how long until the first job, and how long does all else wait, against the size?

`python -m benchmarks guard` ends with exit code 1 where the library has become too slow.

Six more commands ask for less, or something else: `python -m benchmarks.bench_stream` and
`bench_bulk` compare with two contenders only, `bench_memory` asks for ten thousand lists in how
much memory, `bench_throttled` how long they take where the server limits the rate,
`bench_service` puts the README's web service under load, and `bench_cluster` has the lists read by
the workers of a Dask cluster.

The parts, for whoever adds a contender or a question:

- `_data`: seeded documents whose sums are known before anyone parses them
- `_server`: a static server in a process of its own, and its ceiling
- `_limited`: servers with a rate limit, which remember every request
- `_recorded`: the emulator, which remembers what it saw and adds up what it has
- `_service`, `_visitors`: a web service, the API behind it, and who visits it
- `contenders`: one small module each, and their list; every run is a new process
- `_measure`: what is measured inside that process
- `_processes`: starting, timing out and stopping the processes
- `_pairs`: adjacent pairs and the medians of their ratios
- `_report`: heading and table
- `_command`: what the command lines have in common
- `questions`: one module each, with its tables and its charts
- `_bench`: how large everything is, and what the questions share
- `_chart`: bars and lines as SVG
- `_guard`: what must hold, in one table
- `__main__`: the command

What all of it leaves out: a real network, TLS and compression. Where the line is slower than the
parsing, the jobs per second of all contenders meet at the line's own speed, and what remains are
the time to the first job, the memory and the stalls.
"""
