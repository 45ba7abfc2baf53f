INSERT INTO {database}.{stage:reporting_1d} (day, collector_id, contributor, environment, vantage, gateway_product, reports, covered_s, partial_windows, late_windows, dropped_requests, built_from)
WITH 600 AS late_s
SELECT day, collector_id, contributor, environment, vantage, gateway_product, sum(n), sum(covered), sum(partial), sum(late), sum(dropped), {block}
FROM
(
    -- A window that was sealed in several reports (drained) is covered once: not more than from the first window to the last.
    -- dropped_requests is a running total of the boot epoch: what it grew by within the day, and all of it where the boot epoch begins.
    SELECT toDate(window_start) AS day, collector_id, contributor, environment, vantage, gateway_product, boot_epoch,
           count() AS n, least(sum(window_s), toUInt64(max(window_start) - min(window_start)) + max(window_s)) AS covered, countIf(sequence = 0) AS partial,
           countIf(ingested_at > window_start + window_s + late_s) AS late,
           max(dropped_requests) - if(min(sequence) = 0, 0, min(dropped_requests)) AS dropped
    FROM {database}.reports FINAL
    WHERE toYYYYMMDD(window_start) = {day}
    GROUP BY day, collector_id, contributor, environment, vantage, gateway_product, boot_epoch
)
GROUP BY day, collector_id, contributor, environment, vantage, gateway_product
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
