-- silent: collectors that reported in the seven days before and on no place of this day, where they reported last. No day after the
-- newest one on record is looked at.
INSERT INTO {database}.{stage:rollup_coverage_1d} (day, environment, vantage, gateway_product, contributor_bits, collectors, collectors_silent, reports, covered_s, partial_windows, late_windows, dropped_requests, built_from)
SELECT toDateTime(day, 'UTC'), environment, vantage, gateway_product, groupBitOr(bits), sum(present), sum(silent), sum(n), sum(covered), sum(partial), sum(late), sum(dropped), {fingerprint}
FROM
(
    SELECT day, environment, vantage, gateway_product,
           if(contributor = toUUID('00000000-0000-0000-0000-000000000000'), 0, bitShiftLeft(toUInt64(1), cityHash64(contributor) % 64)) AS bits,
           toUInt64(1) AS present, toUInt64(0) AS silent, reports AS n, covered_s AS covered,
           partial_windows AS partial, late_windows AS late, dropped_requests AS dropped
    FROM {whole}.reporting_1d
    WHERE day >= toDate('{partition}') AND day < toDate('{partition}') + 7
    UNION ALL
    SELECT day, last.1 AS environment, vantage, last.2 AS gateway_product, toUInt64(0) AS bits, toUInt64(0) AS present, toUInt64(1) AS silent,
           toUInt64(0) AS n, toUInt64(0) AS covered, toUInt64(0) AS partial, toUInt64(0) AS late, toUInt64(0) AS dropped
    FROM
    (
        SELECT vantage, collector_id, groupUniqArray(day) AS days, argMax((environment, gateway_product), day) AS last
        FROM {whole}.reporting_1d
        WHERE day >= toDate('{partition}') - 7 AND day < toDate('{partition}') + 7
        GROUP BY vantage, collector_id
    )
    ARRAY JOIN arrayMap(n -> toDate('{partition}') + n, range(7)) AS day
    WHERE day <= (SELECT max(day) FROM {whole}.reporting_1d) AND NOT has(days, day)
      AND arrayExists(earlier -> earlier < day AND earlier >= day - 7, days)
)
GROUP BY day, environment, vantage, gateway_product
