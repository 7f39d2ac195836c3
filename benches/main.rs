//! Prints the table of docs/benchmarks.md.

fn main() {}
