//! Ingest, load, migrate and split: from reports to answers.
