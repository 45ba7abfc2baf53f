INSERT INTO {database}.{stage:rollup_retention} (cohort, months_later, vantage, is_first_on_record, authenticated, participants, collectors, still, still_max, share_first, share_later, built_from)
SELECT first.cohort, k, first.vantage, first.cohort = (SELECT min(month) FROM {database}.participation_1mo), max(first.authenticated),
       uniqExact(first.participant), count(), countIf(later.open_requests > 0), countIf(later.open_requests + later.unknown_requests > 0),
       avgOrNullIf(first.share, later.open_requests > 0),
       avgOrNullIf(later.open_requests / (later.open_requests + later.closed_requests), later.open_requests > 0), {fingerprint}
FROM
(
    SELECT vantage, collector_id, min(month) AS cohort, argMin(m.participant, month) AS participant, argMin(m.authenticated, month) AS authenticated,
           argMin(m.open_requests / (m.open_requests + m.closed_requests), month) AS share, k
    FROM {database}.participation_1mo AS m
    ARRAY JOIN [0, 1, 3, 6] AS k
    WHERE m.open_requests > 0
    GROUP BY vantage, collector_id, k
) AS first
LEFT JOIN {database}.participation_1mo AS later
       ON later.vantage = first.vantage AND later.collector_id = first.collector_id AND later.month = addMonths(first.cohort, first.k)
WHERE addMonths(first.cohort, k) <= (SELECT max(month) FROM {database}.participation_1mo)
GROUP BY first.cohort, k, first.vantage
