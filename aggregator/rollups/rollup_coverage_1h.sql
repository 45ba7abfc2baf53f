INSERT INTO {database}.{stage:rollup_coverage_1h} (hour, environment, vantage, gateway_product, collectors, reports, covered_s, partial_windows, late_windows, built_from)
WITH 600 AS late_s
SELECT toStartOfHour(window_start) AS hour, environment, vantage, gateway_product, uniqExact(collector_id), count(), sum(window_s),
       countIf(sequence = 0), countIf(ingested_at > window_start + window_s + late_s), {block}
FROM {database}.reports FINAL
WHERE toYYYYMMDD(window_start) = {day}
GROUP BY hour, environment, vantage, gateway_product
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
