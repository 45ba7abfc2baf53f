-- The ledger and the reports: what came in, one row per (report, cell) and one per report.
--
-- Both are sets keyed by identity. Inserting a row again is a no-op under FINAL, so every hop before them need only
-- deliver at least once. Read exact totals with FINAL, always. Identity columns, PARTITION BY and ORDER BY never change.
--
-- The partition is the day of the window: it is content, so all copies of a row meet in one partition and FINAL sees them.
-- TTL counts from the later of window and arrival, so that a late row is not deleted on arrival.
-- non_replicated_deduplication_window = 0: block deduplication loses rows on kill -9 between its log and the rename.
-- The fsync settings make an acknowledged insert survive a power loss of the host; free at 10,000 rows per insert.
-- The force-merge settings bring a closed day to one part, where FINAL costs the same as a plain read.

CREATE TABLE IF NOT EXISTS {database}.ledger
(
    window_start      DateTime('UTC') COMMENT 'start of the window, by the collector''s clock' CODEC(DoubleDelta, ZSTD(1)),
    collector_id      UUID            COMMENT 'random id of the collector' CODEC(ZSTD(1)),
    boot_epoch        UInt64          COMMENT 'one start of the collector: Unix milliseconds << 20 | random' CODEC(ZSTD(1)),
    sequence          UInt64          COMMENT 'number of the report within the boot epoch' CODEC(Delta, ZSTD(1)),
    cell              UInt16          COMMENT 'position of the cell within the report' CODEC(Delta, ZSTD(1)),
    window_s          UInt32          COMMENT 'length of the window, seconds' CODEC(ZSTD(1)),
    catalogue_version UInt32          COMMENT 'register that classified the names: yyyymmdd * 100 + counter' CODEC(ZSTD(1)),
    environment       Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage           Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product   Enum8('other' = 1, 'litellm' = 2, 'genai' = 3) CODEC(ZSTD(1)),
    model             UInt32          COMMENT 'number in the register, see models; 0 is unlisted' CODEC(ZSTD(1)),
    provider          UInt16          COMMENT 'number in the register, see providers; 0 is unlisted' CODEC(ZSTD(1)),
    openness          Enum8('unknown' = 0, 'closed' = 1, 'open-noncommercial' = 2, 'open-restricted' = 3, 'open-permissive' = 4, 'open-source' = 5) CODEC(ZSTD(1)),
    hosting           Enum8('unknown' = 0, 'first_party' = 1, 'third_party' = 2, 'marketplace' = 3, 'self_hosted' = 4) CODEC(ZSTD(1)),
    operation         Enum8('chat' = 0, 'text_completion' = 1, 'embeddings' = 2, 'rerank' = 3, 'image' = 4, 'audio' = 5, 'other' = 6) CODEC(ZSTD(1)),
    choice            Enum8('first' = 0, 'fallback' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    streaming         Enum8('no' = 0, 'yes' = 1, 'unknown' = 2) CODEC(ZSTD(1)),
    outcome           Enum8('ok' = 0, 'rate_limited' = 1, 'client_error' = 2, 'server_error' = 3, 'cancelled' = 4, 'unknown' = 5) CODEC(ZSTD(1)),
    requests          UInt64          COMMENT 'client requests with a final outcome' CODEC(T64, ZSTD(1)),
    attempts          UInt64          COMMENT 'tries at an upstream; never added to requests' CODEC(T64, ZSTD(1)),
    input_tokens      UInt64          CODEC(T64, ZSTD(1)),
    output_tokens     UInt64          CODEC(T64, ZSTD(1)),
    kafka_partition   UInt16          COMMENT 'where this copy was read; not part of the key' CODEC(ZSTD(1)),
    kafka_offset      UInt64          COMMENT 'where this copy was read; not part of the key' CODEC(Delta, ZSTD(1)),
    ingested_at       DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(window_start)
ORDER BY (window_start, collector_id, boot_epoch, sequence, cell)
TTL greatest(window_start, ingested_at) + INTERVAL {ledger_ttl_days} DAY
SETTINGS ttl_only_drop_parts = 1,
         non_replicated_deduplication_window = 0,
         fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
         min_age_to_force_merge_seconds = 7200, min_age_to_force_merge_on_partition_only = 1
COMMENT 'One row per (report, cell). The source of truth; read with FINAL.';

CREATE TABLE IF NOT EXISTS {database}.reports
(
    window_start        DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    collector_id        UUID            CODEC(ZSTD(1)),
    boot_epoch          UInt64          CODEC(ZSTD(1)),
    sequence            UInt64          CODEC(Delta, ZSTD(1)),
    window_s            UInt32          CODEC(ZSTD(1)),
    catalogue_version   UInt32          CODEC(ZSTD(1)),
    environment         Enum8('production' = 1, 'staging' = 2, 'development' = 3, 'unknown' = 4) CODEC(ZSTD(1)),
    vantage             Enum8('gateway' = 1, 'server' = 2, 'client' = 3) CODEC(ZSTD(1)),
    gateway_product     Enum8('other' = 1, 'litellm' = 2, 'genai' = 3) CODEC(ZSTD(1)),
    cells               UInt16          COMMENT 'cells in this report; 0 for a window without traffic' CODEC(ZSTD(1)),
    total_requests      UInt64          COMMENT 'counted in the boot epoch up to and including this report' CODEC(Delta, ZSTD(1)),
    total_attempts      UInt64          CODEC(Delta, ZSTD(1)),
    total_input_tokens  UInt64          CODEC(Delta, ZSTD(1)),
    total_output_tokens UInt64          CODEC(Delta, ZSTD(1)),
    dropped_requests    UInt64          COMMENT 'counted in the boot epoch, but dropped unsent because the spool was full' CODEC(ZSTD(1)),
    kafka_partition     UInt16          CODEC(ZSTD(1)),
    kafka_offset        UInt64          CODEC(Delta, ZSTD(1)),
    ingested_at         DateTime('UTC') DEFAULT now('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(window_start)
ORDER BY (window_start, collector_id, boot_epoch, sequence)
TTL greatest(window_start, ingested_at) + INTERVAL {ledger_ttl_days} DAY
SETTINGS ttl_only_drop_parts = 1,
         non_replicated_deduplication_window = 0,
         fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1,
         min_age_to_force_merge_seconds = 7200, min_age_to_force_merge_on_partition_only = 1
COMMENT 'One row per report, empty ones too. Read with FINAL.';
