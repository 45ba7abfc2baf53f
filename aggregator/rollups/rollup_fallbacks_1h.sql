-- Which failures a fallback can have come from, per collector and window. failures: attempts that failed and were not the request;
-- served: requests that ended well as fallback. Fallbacks beyond all failures that were told come from an unknown one.
INSERT INTO {database}.{stage:rollup_fallbacks_1h} (hour, environment, vantage, gateway_product, from_class, after_outcome, to_class, requests_min, requests_max, requests_likely, contributor_bits, built_from)
SELECT toStartOfHour(w.window_start) AS hour, w.environment, w.vantage, w.gateway_product,
       fail.1 AS from_class, fail.2 AS after_outcome, end.1 AS to_class,
       sum(toUInt64(greatest(0, toInt64(end.2) - toInt64(w.failed - fail.3)))),
       sum(least(end.2, fail.3)),
       sum(end.2 * fail.3 / w.failed),
       groupBitOr(if(w.contributor = toUUID('00000000-0000-0000-0000-000000000000'), 0, bitShiftLeft(toUInt64(1), cityHash64(w.contributor) % 64))),
       {block}
FROM
(
    SELECT window_start, environment, vantage, gateway_product, contributor, ends,
           arraySum(told.3) AS failed_told, arraySum(ends.2) AS ended,
           if(ended > failed_told, arrayPushBack(told, (toInt8(0), toInt8(5), ended - failed_told)), told) AS fails,
           greatest(ended, failed_told) AS failed
    FROM
    (
        SELECT window_start, environment, vantage, gateway_product, contributor, collector_id,
               groupArrayIf((class, CAST(outcome, 'Int8'), failures), failures > 0) AS told,
               groupArrayIf((class, served), served > 0) AS ends
        FROM
        (
            SELECT window_start, environment, vantage, gateway_product, contributor, collector_id, outcome,
                   toInt8(least(CAST(openness, 'Int8'), 2)) AS class,
                   sum(if(outcome = 'ok', 0, attempts - requests)) AS failures,
                   sum(if(outcome = 'ok', requests, 0)) AS served
            FROM {database}.ledger FINAL
            WHERE toYYYYMMDD(window_start) = {day} AND operation IN ('chat', 'text_completion')
              AND if(outcome = 'ok', choice = 'fallback' AND requests > 0, attempts > requests)
            GROUP BY window_start, environment, vantage, gateway_product, contributor, collector_id, outcome, class
        )
        GROUP BY window_start, environment, vantage, gateway_product, contributor, collector_id
        HAVING notEmpty(ends)
    )
) AS w
ARRAY JOIN w.fails AS fail
ARRAY JOIN w.ends AS end
GROUP BY hour, w.environment, w.vantage, w.gateway_product, from_class, after_outcome, to_class
SETTINGS do_not_merge_across_partitions_select_final = 1, async_insert = 0
