-- Flink SQL: what is bought at the exchange on each day of event time.
-- It goes behind the statements that `datagen schema banking.trades --for flink` prints.
CREATE TEMPORARY VIEW days AS
SELECT window_start, COUNT(*) AS trades, SUM(gross_amount) AS bought
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(executed_at), INTERVAL '1' DAY))
WHERE side = 'BUY'
GROUP BY window_start, window_end;
