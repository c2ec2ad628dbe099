-- Spark SQL: what is bought at the exchange on each day of event time.
-- It goes behind the statements that `datagen schema banking.trades --for spark` prints.
CREATE OR REPLACE TEMPORARY VIEW days AS
SELECT window.start AS day, count(*) AS trades, sum(gross_amount) AS bought
FROM trades
WHERE side = 'BUY'
GROUP BY window(executed_at, '1 day');
