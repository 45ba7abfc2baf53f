-- Who sent a report: the pseudonym that ingest makes of the contributor and the four weeks of the window; zeros where ingest asks
-- nobody who he is. Not part of the key: collector_id is each contributor's own already (aggregator/src/door/mod.rs).

ALTER TABLE {database}.ledger
    ADD COLUMN IF NOT EXISTS contributor UUID DEFAULT toUUID('00000000-0000-0000-0000-000000000000') COMMENT 'pseudonym of the contributor, another one every four weeks; zeros: not authenticated' CODEC(ZSTD(1)) AFTER cell;

ALTER TABLE {database}.reports
    ADD COLUMN IF NOT EXISTS contributor UUID DEFAULT toUUID('00000000-0000-0000-0000-000000000000') COMMENT 'pseudonym of the contributor, another one every four weeks; zeros: not authenticated' CODEC(ZSTD(1)) AFTER sequence;
