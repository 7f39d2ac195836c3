//! The binary `muster-server`.

fn main() {}
