"""What `tools/benchmark.py` measures (`cases`, on `scenes`, beside `peers`), and how (`measuring`,
`reporting`)."""
