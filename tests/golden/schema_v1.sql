-- A tuning database as schema version 1 wrote it: bests found by their exact problem, no attempts, no warm times, and configs
-- from before some of today's fields.
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE trials(
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  problem TEXT NOT NULL,
  cubin_digest TEXT NOT NULL,
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL, detail TEXT NOT NULL,
  registers INTEGER NOT NULL, spill_bytes INTEGER NOT NULL, stack_bytes INTEGER NOT NULL,
  smem_static INTEGER NOT NULL, max_threads INTEGER NOT NULL,
  median_us REAL NOT NULL, spread_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE TABLE bests(
  id INTEGER PRIMARY KEY,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  problem TEXT NOT NULL,
  candidate TEXT NOT NULL,
  grade TEXT NOT NULL,
  default_us REAL NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL, policy TEXT NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL,
  UNIQUE(device_name, sm_count, arch, problem, grade)
) STRICT;
PRAGMA application_id = 1718906469;
PRAGMA user_version = 1;

INSERT INTO trials VALUES(1, '3f0d0000000000000000000000000001', 'NVIDIA H200', 132, 90,
  'prefill_mma br=64,bc=32,warps=4,k_stages=2,v_stages=1',
  'prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd',
  'aaaa0000aaaa0000aaaa0000aaaa0000', 'cold-graph/1', 'measured', '',
  168, 0, 0, 0, 128, 412.5, 1.25, 40, 1980, '580.159.04', 'nvrtc 13.0.88', '2026-10-01T08:00:00Z');
INSERT INTO trials VALUES(2, '3f0d0000000000000000000000000002', 'NVIDIA H200', 132, 90,
  'prefill_mma br=128,bc=64,warps=8,k_stages=1,v_stages=1',
  'prefill fp16 b1 h8 kv8 q100 k100 d64 dv64 full w0 strided q:51200,64,520 k:51200,64,512 v:51200,64,512 o:51200,64,512',
  'bbbb0000bbbb0000bbbb0000bbbb0000', 'cold-graph/1', 'in_flight', '',
  0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, '580.159.04', 'nvrtc 13.0.88', '2026-10-01T08:05:00Z');

-- The second and third share a bucket, and the second is the newer one.
INSERT INTO bests VALUES(1, 'NVIDIA H200', 132, 90,
  'prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd',
  'prefill_mma br=64,bc=32,warps=4,k_stages=2,v_stages=1', 'measured', 450.0, 412.5, 1.25, 40, 1980,
  'aaaa0000aaaa0000aaaa0000aaaa0000', 'cold-graph/1', '580.159.04', 'nvrtc 13.0.88', '2026-10-01T08:00:00Z');
INSERT INTO bests VALUES(2, 'NVIDIA H200', 132, 90,
  'prefill bf16 b4 h32 kv8 q1000 k1000 d128 dv128 causal w0 bshd',
  'prefill_mma br=64,bc=64,warps=4,k_stages=2,v_stages=2', 'measured', 40.0, 38.5, 0.5, 40, 1980,
  'cccc0000cccc0000cccc0000cccc0000', 'cold-graph/1', '580.159.04', 'nvrtc 13.0.88', '2026-10-02T08:00:00Z');
INSERT INTO bests VALUES(3, 'NVIDIA H200', 132, 90,
  'prefill bf16 b4 h32 kv8 q1001 k1001 d128 dv128 causal w0 bshd',
  'prefill_mma br=128,bc=64,warps=4,k_stages=1,v_stages=1', 'measured', 41.0, 39.5, 0.5, 40, 1980,
  'dddd0000dddd0000dddd0000dddd0000', 'cold-graph/1', '580.159.04', 'nvrtc 13.0.88', '2026-10-01T08:00:00Z');
COMMIT;
