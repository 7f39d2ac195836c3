//! A stand-in for a FortiGate with several VDOMs.
