"""The trigger function that counts children: by key, priority and lane, sync ones apart.

A child of a sync parent carries its priority + 100, so that it comes first in the index of ready
children; it is counted under the priority a client gave.

How fast they end is counted anew, from its first children on, when a key that had nothing to do for
3 s has something again: time without work says nothing of how fast it is done. `busy` is the time
children were running, `spent` that of the attempts which are over: decayed as `rates` says.
"""

COUNT_CHILDREN = """
CREATE OR REPLACE FUNCTION count_children() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  ks int[]; ls int[]; ps int[]; qs int[]; xs int[]; rs int[]; es int[];
  ws float8[];
  clock float8 := extract(epoch FROM clock_timestamp());
BEGIN
  IF tg_op = 'INSERT' THEN
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs
    FROM (SELECT key_id k, lane_id l, priority p,
                 count(*) FILTER (WHERE state = 'queued') q,
                 count(*) FILTER (WHERE state = 'processing') x,
                 count(*) FILTER (WHERE state = 'retrying') r
          FROM after GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  ELSIF tg_op = 'DELETE' THEN
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs
    FROM (SELECT key_id k, lane_id l, priority p,
                 -count(*) FILTER (WHERE state = 'queued') q,
                 -count(*) FILTER (WHERE state = 'processing') x,
                 -count(*) FILTER (WHERE state = 'retrying') r
          FROM before GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  ELSE
    SELECT array_agg(k ORDER BY k, l), array_agg(l ORDER BY k, l), array_agg(p ORDER BY k, l),
           array_agg(q ORDER BY k, l), array_agg(x ORDER BY k, l), array_agg(r ORDER BY k, l),
           array_agg(e ORDER BY k, l), array_agg(w ORDER BY k, l)
    INTO ks, ls, ps, qs, xs, rs, es, ws
    FROM (SELECT k, l, p, sum(q)::int q, sum(x)::int x, sum(r)::int r, sum(e)::int e, sum(w) w
          FROM (SELECT key_id k, lane_id l, priority p, (state = 'queued')::int q,
                       (state = 'processing')::int x, (state = 'retrying')::int r,
                       (state IN ('completed', 'failed'))::int e,
                       CASE WHEN state = 'processing'
                            THEN extract(epoch FROM claimed_at)::float8 - clock END w
                FROM after
                UNION ALL
                SELECT key_id, lane_id, priority, -(state = 'queued')::int,
                       -(state = 'processing')::int, -(state = 'retrying')::int,
                       -(state IN ('completed', 'failed'))::int,
                       CASE WHEN state = 'processing'
                            THEN clock - extract(epoch FROM claimed_at)::float8 END
                FROM before) both_sides
          GROUP BY 1, 2, 3) t
    WHERE q <> 0 OR x <> 0 OR r <> 0;
  END IF;
  IF ks IS NULL THEN RETURN NULL; END IF;

  INSERT INTO usage AS u (key_id, queued, processing, retrying,
                          sync_queued, sync_processing, sync_retrying,
                          ended, ended_at, spent, busy_at)
  SELECT k, sum(q), sum(x), sum(r), sum(q * s), sum(x * s), sum(r * s), greatest(0, sum(e)), clock,
         greatest(0, sum(w)), clock
  FROM (SELECT k, q, x, r, coalesce(e, 0) e, coalesce(w, 0) w, (p > 100)::int s
        FROM unnest(ks, ps, qs, xs, rs, es, ws) t(k, p, q, x, r, e, w)) t
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (key_id) DO UPDATE SET
    queued = u.queued + excluded.queued,
    processing = u.processing + excluded.processing,
    retrying = u.retrying + excluded.retrying,
    sync_queued = u.sync_queued + excluded.sync_queued,
    sync_processing = u.sync_processing + excluded.sync_processing,
    sync_retrying = u.sync_retrying + excluded.sync_retrying,
    turn = CASE WHEN excluded.processing > excluded.sync_processing THEN clock ELSE u.turn END,
    sync_turn = CASE WHEN excluded.sync_processing > 0 THEN clock ELSE u.sync_turn END,
    claimed = mod(u.claimed + greatest(0, excluded.processing - excluded.sync_processing), 10),
    ended = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                 THEN 0
                 WHEN excluded.ended > 0
                 THEN decayed(u.ended, u.ended_at, clock) + excluded.ended ELSE u.ended END,
    ended_from = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                      THEN clock
                      WHEN excluded.ended > 0 AND clock - u.ended_from > 60
                           AND decayed(u.ended, u.ended_at, clock) < 0.05
                      THEN clock ELSE u.ended_from END,
    busy = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                THEN 0
                ELSE decayed(u.busy, u.busy_at, clock)
                     + u.processing * (30 - decayed(30, u.busy_at, clock)) END,
    spent = CASE WHEN u.queued + u.processing + u.retrying = 0 AND clock - u.ended_at > 3
                 THEN 0
                 ELSE decayed(u.spent, u.busy_at, clock) + excluded.spent END,
    busy_at = clock,
    ended_at = CASE WHEN excluded.ended > 0 THEN clock ELSE u.ended_at END;

  INSERT INTO backlog AS b (key_id, priority, n)
  SELECT k, CASE WHEN p > 100 THEN p - 100 ELSE p END, sum(q + r)
  FROM unnest(ks, ps, qs, rs) t(k, p, q, r)
  GROUP BY 1, 2 HAVING sum(q + r) <> 0 ORDER BY 1, 2
  ON CONFLICT (key_id, priority) DO UPDATE SET n = b.n + excluded.n;

  INSERT INTO inflight AS i (key_id, lane_id, queued, processing, retrying, sync_queued)
  SELECT k, l, sum(q), sum(x), sum(r), sum(CASE WHEN p > 100 THEN q ELSE 0 END)
  FROM unnest(ks, ls, ps, qs, xs, rs) t(k, l, p, q, x, r)
  GROUP BY 1, 2 ORDER BY 1, 2
  ON CONFLICT (key_id, lane_id) DO UPDATE SET
    queued = i.queued + excluded.queued,
    processing = i.processing + excluded.processing,
    retrying = i.retrying + excluded.retrying,
    sync_queued = i.sync_queued + excluded.sync_queued;

  INSERT INTO lane_load AS l (lane_id, queued, processing, retrying, sync_processing)
  SELECT k, sum(q), sum(x), sum(r), sum(CASE WHEN p > 100 THEN x ELSE 0 END)
  FROM unnest(ls, ps, qs, xs, rs) t(k, p, q, x, r)
  GROUP BY 1 ORDER BY 1
  ON CONFLICT (lane_id) DO UPDATE SET
    queued = l.queued + excluded.queued,
    processing = l.processing + excluded.processing,
    retrying = l.retrying + excluded.retrying,
    sync_processing = l.sync_processing + excluded.sync_processing;
  RETURN NULL;
END $$
"""
