"""Benchmarks: ratios of interleaved runs on one machine (see run.sh); no tests, and no absolute promises."""
