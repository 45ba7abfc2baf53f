//! `docs/kubernetes.md`: every path is there, every block of YAML is what it says, every command is one that the programs have.
