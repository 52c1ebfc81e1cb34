"""The trigger function that copies a key's limits to its usage row, where all is decided."""

COPY_LIMITS = """
CREATE OR REPLACE FUNCTION copy_limits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO usage AS u (key_id, capacity, sync_limit, concurrency, weight, quota_daily,
                          quota_monthly)
  SELECT id, queue_capacity, sync_limit, concurrency, weight, quota_daily, quota_monthly
  FROM after ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    capacity = excluded.capacity, sync_limit = excluded.sync_limit,
    concurrency = excluded.concurrency, weight = excluded.weight,
    quota_daily = excluded.quota_daily, quota_monthly = excluded.quota_monthly
  WHERE (u.capacity, u.sync_limit, u.concurrency, u.weight, u.quota_daily, u.quota_monthly)
        IS DISTINCT FROM
        (excluded.capacity, excluded.sync_limit, excluded.concurrency, excluded.weight,
         excluded.quota_daily, excluded.quota_monthly);
  RETURN NULL;
END $$
"""
