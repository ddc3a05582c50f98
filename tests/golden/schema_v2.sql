-- A tuning database as schema version 2 writes it: one trial and one best.
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE trials(
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  problem TEXT NOT NULL, op TEXT NOT NULL, dtype TEXT NOT NULL, head_dim INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL,
  policy TEXT NOT NULL,
  outcome TEXT NOT NULL, detail TEXT NOT NULL, attempts INTEGER NOT NULL,
  registers INTEGER NOT NULL, spill_bytes INTEGER NOT NULL, stack_bytes INTEGER NOT NULL,
  smem_static INTEGER NOT NULL, max_threads INTEGER NOT NULL,
  median_us REAL NOT NULL, spread_us REAL NOT NULL, warm_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL
) STRICT;
CREATE INDEX trials_by_problem ON trials(problem, device_name);
CREATE TABLE bests(
  id INTEGER PRIMARY KEY,
  device_name TEXT NOT NULL, sm_count INTEGER NOT NULL, arch INTEGER NOT NULL,
  bucket TEXT NOT NULL,
  problem TEXT NOT NULL, op TEXT NOT NULL, dtype TEXT NOT NULL, head_dim INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  grade TEXT NOT NULL,
  default_us REAL NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL, warm_us REAL NOT NULL,
  samples INTEGER NOT NULL, sm_clock_mhz INTEGER NOT NULL,
  cubin_digest TEXT NOT NULL, policy TEXT NOT NULL,
  driver TEXT NOT NULL, compiler TEXT NOT NULL, recorded_at TEXT NOT NULL,
  UNIQUE(device_name, sm_count, arch, bucket, grade)
) STRICT;
PRAGMA application_id = 1718906469;
PRAGMA user_version = 2;

INSERT INTO bests VALUES(1,'NVIDIA H200',132,90,'prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd','prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd','prefill','bf16',128,'prefill_mma br=128,bc=64,warps=4,k_stages=1,v_stages=1,q_in_regs=0,q_smem_reuse=0,blocks_per_sm=2,lazy_rescale=0,order=grid,load=k_first,smem=xor','measured',150.25,1.23456789012345680589e+02,0.1,99.5,40,1980,'00112233445566778899aabbccddeeff','cold-graph/1','580.159.04','nvrtc 13.0.88','2026-11-20T10:00:00Z');
INSERT INTO trials VALUES(1,'1ad07ed62bbedb1209639d121333d469','NVIDIA H200',132,90,'prefill_mma br=128,bc=64,warps=4,k_stages=1,v_stages=1,q_in_regs=0,q_smem_reuse=0,blocks_per_sm=2,lazy_rescale=0,order=grid,load=k_first,smem=xor','prefill bf16 b4 h32 kv8 q4096 k4096 d128 dv128 causal w0 bshd','prefill','bf16',128,'00112233445566778899aabbccddeeff','cold-graph/1','measured','it''s "fine"; or so',1,168,8,16,1024,128,1.23456789012345680589e+02,0.1,99.5,40,1980,'580.159.04','nvrtc 13.0.88','2026-11-20T10:00:00Z');
COMMIT;
