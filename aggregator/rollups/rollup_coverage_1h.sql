INSERT INTO {database}.{stage:rollup_coverage_1h} (hour, environment, vantage, gateway_product, collectors, reports, covered_s, partial_windows, late_windows, newest, built_from)
WITH 600 AS late_s
SELECT hour, environment, vantage, gateway_product, uniqExact(collector_id), sum(n), sum(covered), sum(partial), sum(late), max(last), {block}
FROM
(
    -- A window that was sealed in several reports (drained) is covered once: not more than from the first window to the last.
    SELECT toStartOfHour(window_start) AS hour, environment, vantage, gateway_product, collector_id, boot_epoch,
           count() AS n, least(sum(window_s), toUInt64(max(window_start) - min(window_start)) + max(window_s)) AS covered,
           countIf(sequence = 0) AS partial, countIf(ingested_at > window_start + window_s + late_s) AS late,
           maxIf(window_start, cells > 0) AS last
    FROM {database}.reports FINAL
    WHERE toYYYYMMDD(window_start) = {day}
    GROUP BY hour, environment, vantage, gateway_product, collector_id, boot_epoch
)
GROUP BY hour, environment, vantage, gateway_product
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
