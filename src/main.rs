//! The program: an exit code around the command line.

fn main() {}
