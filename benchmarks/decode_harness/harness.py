"""Compiles decode_split configs with NVRTC, checks them, times them against torch's backends. Usage: harness.py check|sweep ..."""
import ctypes, glob, itertools, json, math, os, statistics, sys, time
from concurrent.futures import ThreadPoolExecutor
import torch
from torch.nn.attention import sdpa_kernel, SDPBackend
OUT = os.environ.get('OUT', '/tmp'); T0 = time.time()
HERE = os.path.dirname(os.path.abspath(__file__)); ROOT = os.path.dirname(os.path.dirname(HERE))
cu = ctypes.CDLL('libcuda.so.1')
def ck(r, what=''):
    if r: raise RuntimeError(f'cuda {r} {what}')
torch.zeros(1, device='cuda'); torch.manual_seed(1)
def find_nvrtc():
    import nvidia
    for base in list(nvidia.__path__):
        for lib in sorted(glob.glob(base + '/*/lib/libnvrtc.so.1*') ):
            for b in glob.glob(os.path.dirname(lib) + '/libnvrtc-builtins.so*'): ctypes.CDLL(b)
            return ctypes.CDLL(lib)
    return ctypes.CDLL('/usr/local/cuda/lib64/libnvrtc.so')
nv = find_nvrtc()
F = ['br', 'bc', 'warps', 'stages', 'blocks_per_sm', 'lazy_rescale', 'merge', 'order', 'smem']
DEF = dict(br=16, bc=16, warps=4, stages=3, blocks_per_sm=2, lazy_rescale=1, merge=0, order=0, smem=0)
ENUM = dict(merge='Merge', order='SplitOrder', smem='SmemLayout')
TF = dict(dtype=1, head_dim=128, causal=0, windowed=0, paged=0)
def source(c, t, extra=''):
    cf = ','.join(f'.{k}=' + (f'static_cast<{ENUM[k]}>({c[k]})' if k in ENUM else str(c[k])) for k in F)
    b = lambda x: 'true' if t[x] else 'false'
    return f'''{extra}
#include "flashtune/kernels/decode_split.cuh"
using namespace flashtune;
constexpr DecodeSplitConfig c{{{cf}}}; constexpr DecodeTraits t{{.dtype=static_cast<Dtype>({t['dtype']}),.head_dim={t['head_dim']},.head_dim_v={t['head_dim']},.causal={b('causal')},.windowed={b('windowed')},.paged={b('paged')}}};
extern "C" __global__ void __launch_bounds__(32*c.warps,c.blocks_per_sm) kern(const __grid_constant__ DecodeParams p){{ decode_split<c,t>(p); }}
extern "C" __global__ void __launch_bounds__(32*c.warps) comb(const __grid_constant__ DecodeParams p){{ decode_combine<c,t>(p); }}
'''
def key(c, t): return '_'.join(str(c[k]) for k in F) + '__' + '_'.join(str(t[k]) for k in TF)
CUBINS = {}
OPTS = ['--gpu-architecture=sm_90', '-std=c++20', '-default-device', '--no-cache', f'-I{HERE}', f'-I{ROOT}/templates']
def compile1(a):
    c, t = a; k = key(c, t)
    if k in CUBINS: return
    prog = ctypes.c_void_p(); nv.nvrtcCreateProgram(ctypes.byref(prog), source(c, t).encode(), b'k.cu', 0, None, None)
    arr = (ctypes.c_char_p * len(OPTS))(*[o.encode() for o in OPTS])
    r = nv.nvrtcCompileProgram(prog, len(OPTS), arr)
    if r:
        n = ctypes.c_size_t(); nv.nvrtcGetProgramLogSize(prog, ctypes.byref(n)); b = ctypes.create_string_buffer(n.value); nv.nvrtcGetProgramLog(prog, b)
        print('COMPILE', k, b.value.decode()[:1500]); CUBINS[k] = None; return
    n = ctypes.c_size_t(); nv.nvrtcGetCUBINSize(prog, ctypes.byref(n)); b = ctypes.create_string_buffer(n.value); nv.nvrtcGetCUBIN(prog, b); CUBINS[k] = b.raw
    nv.nvrtcDestroyProgram(ctypes.byref(prog))
def build(items):
    t = time.time()
    with ThreadPoolExecutor(16) as ex: list(ex.map(compile1, items))
    print(f'built {len(items)} in {time.time()-t:.1f}s') if len(items) > 20 else None
def row_bytes(D, smem):
    ch = -(-D // 16) * 2
    return 16 * (ch + 1 if smem else -(-ch // 8) * 8)
def smem_of(c, D):
    rb = row_bytes(D, c['smem']); pd = -(-D // 16) * 16
    q = c['br'] * rb; ring = c['stages'] * 2 * c['bc'] * rb
    pitch = pd * 4 + 32; sums = c['warps'] * c['br'] * pitch; merged = sums + c['warps'] * c['br'] * 8
    return max(merged + 32 * c['warps'] * 24, q + c['warps'] * ring) + 16 + (c['br'] * D // 4 + 16) * 24 * (c['merge'] == 2)
LOADED = {}
def load(c, t):
    k = key(c, t)
    if k in LOADED: return LOADED[k]
    m = ctypes.c_void_p(); f = ctypes.c_void_p(); g = ctypes.c_void_p()
    if CUBINS.get(k) is None: raise RuntimeError('not compiled')
    ck(cu.cuModuleLoadData(ctypes.byref(m), CUBINS[k]), k); ck(cu.cuModuleGetFunction(ctypes.byref(f), m, b'kern')); ck(cu.cuModuleGetFunction(ctypes.byref(g), m, b'comb'))
    s = smem_of(c, t['head_dim'])
    for x in (f, g): ck(cu.cuFuncSetAttribute(x, 8, s), 'smem %d' % s)
    ck(cu.cuFuncSetAttribute(f, 9, 100)); ck(cu.cuFuncSetAttribute(f, 14, 1))
    r = ctypes.c_int(); l = ctypes.c_int(); ck(cu.cuFuncGetAttribute(ctypes.byref(r), 4, f)); ck(cu.cuFuncGetAttribute(ctypes.byref(l), 3, f))
    LOADED[k] = (f, g, s, r.value, l.value); return LOADED[k]
class S3(ctypes.Structure): _fields_ = [(n, ctypes.c_longlong) for n in 'bhr']
VP = ctypes.c_void_p
class P(ctypes.Structure):
    _fields_ = [(n, VP) for n in ('q', 'k', 'v', 'o', 'lse', 'lengths', 'table', 'po', 'ps', 'counters', 'status')] + [(n, S3) for n in ('qs', 'ks', 'vs', 'os')] + \
        [(n, ctypes.c_int) for n in ('batch', 'heads', 'kvh', 'sq', 'sk', 'window', 'splits', 'chunk', 'num_pages', 'max_pages', 'page_log2')] + [('scale', ctypes.c_float)] + [(n, ctypes.c_uint * 3) for n in ('bg', 'bt', 'bk', 'bs')]
def div(d):
    l = (d - 1).bit_length(); return (ctypes.c_uint * 3)(d, (2**32 * (2**l - d)) // d + 1, l)
class Attr(ctypes.Structure): _fields_ = [('id', ctypes.c_int), ('pad', ctypes.c_int), ('v', ctypes.c_uint * 16)]
class Cfg(ctypes.Structure): _fields_ = [(n, ctypes.c_uint) for n in ('gx', 'gy', 'gz', 'bx', 'by', 'bz', 'smem')] + [('stream', VP), ('attrs', VP), ('n', ctypes.c_uint)]
WS = torch.zeros(1 << 30, dtype=torch.uint8, device='cuda')
WS_COUNTERS, WS_SUMS, WS_O = 256, 1 << 20, 64 << 20
def st3(t, dims): return S3(*[t.stride(d) for d in dims])
# q, o: [B, H, Sq, D] views; k, v: [B, Hkv, S, D] views (or pages: [page, Hkv, size, D])
def launcher(c, t, q, k, v, o, splits, lse=None, lengths=None, window=0, chunk=0, scale=None, table=None, capacity=None, pdl=0):
    f, g, smem, _, _ = load(c, t); p = P()
    B, H, Sq, D = q.shape; Hk = k.shape[1]; S = capacity if capacity is not None else k.shape[2]
    p.q, p.k, p.v, p.o, p.lse = q.data_ptr(), k.data_ptr(), v.data_ptr(), o.data_ptr(), lse.data_ptr() if lse is not None else None
    p.lengths = lengths.data_ptr() if lengths is not None else None
    w = WS.data_ptr(); p.status, p.counters, p.ps, p.po = w, w + WS_COUNTERS, w + WS_SUMS, w + WS_O
    for n, x in (('qs', q), ('ks', k), ('vs', v), ('os', o)): setattr(p, n, st3(x, (0, 1, 2)))
    p.batch, p.heads, p.kvh, p.sq, p.sk, p.window, p.splits, p.chunk = B, H, Hk, Sq, S, window, splits, chunk
    if table is not None: p.table, p.num_pages, p.max_pages, p.page_log2 = table.data_ptr(), k.shape[0], table.shape[1], k.shape[2].bit_length() - 1
    p.scale = (scale if scale is not None else 1 / math.sqrt(D)) * 1.4426950408889634
    rows = H // Hk * Sq; tiles = -(-rows // c['br']); n = 32 * c['warps']; p.bg, p.bt, p.bk, p.bs = div(H // Hk), div(tiles), div(Hk), div(splits)
    assert B * Hk * rows * splits * D * 4 + WS_O <= WS.numel() or splits == 1
    arr = (VP * 1)(ctypes.addressof(p))
    def make(grid, attrs):
        a = (Attr * max(1, len(attrs)))()
        for i, (d, vals) in enumerate(attrs):
            a[i].id = d
            for j, x in enumerate(vals): a[i].v[j] = x
        return a, Cfg(grid, 1, 1, n, 1, 1, smem, None, ctypes.addressof(a), len(attrs))
    am = ([(4, (splits, 1, 1))] if c['merge'] == 2 and splits > 1 else []) + ([(6, (1,))] if pdl else [])
    a1, c1 = make(B * Hk * tiles * splits, am); a2, c2 = make(B * Hk * tiles, [(6, (1,))])
    second = c['merge'] == 1 and splits > 1
    def go(stream):
        c1.stream = stream; ck(cu.cuLaunchKernelEx(ctypes.byref(c1), f, arr, None), 'launch ' + key(c, t) + f' splits {splits}')
        if second: c2.stream = stream; ck(cu.cuLaunchKernelEx(ctypes.byref(c2), g, arr, None), 'combine')
    go.keep = (p, arr, a1, a2, c1, c2); return go
ST = torch.cuda.Stream(); SP = VP(ST.cuda_stream)
def run_now(go): go(SP); ST.synchronize()
def graph(gos, n):
    g = VP(); ck(cu.cuStreamBeginCapture_v2(SP, 2))
    try:
        for i in range(n): gos[i % len(gos)](SP)
    finally: r = cu.cuStreamEndCapture(SP, ctypes.byref(g))
    ck(r); e = VP(); ck(cu.cuGraphInstantiateWithFlags(ctypes.byref(e), g, ctypes.c_ulonglong(0))); ck(cu.cuGraphDestroy(g))
    def replay(): ck(cu.cuGraphLaunch(e, SP))
    replay.n = n; replay.drop = lambda: cu.cuGraphExecDestroy(e)
    replay(); ST.synchronize(); return replay
def tgraph(fns, n):
    with torch.cuda.stream(ST):
        for f in fns[:2]: f()
    torch.cuda.synchronize(); g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g, stream=ST):
        for i in range(n): fns[i % len(fns)]()
    def replay():
        with torch.cuda.stream(ST): g.replay()
    replay.n = n; replay.keep = g; replay(); ST.synchronize(); return replay
def time1(r, idle=0):
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    a.record(ST); r(); b.record(ST); b.synchronize(); return a.elapsed_time(b) / r.n * 1e3
def timeg(r, reps): return statistics.median(time1(r) for _ in range(reps))
def conf(**k): d = dict(DEF); d.update(k); return d
def short(c, splits, pdl=0): return f"{c['br']}x{c['bc']} w{c['warps']} s{c['stages']} b{c['blocks_per_sm']} split{splits} {('last','kernel','cluster')[c['merge']]} {('sf','hf')[c['order']]}{' lz0' if not c['lazy_rescale'] else ''}{' pdl' if pdl else ''}"
# ---- reference
def reference(q, k, v, lengths, causal, window, scale):
    B, H, Sq, D = q.shape; Hk = k.shape[1]; O = torch.zeros(B, H, Sq, D, device='cuda', dtype=torch.float64); L = torch.full((B, H, Sq), -math.inf, device='cuda', dtype=torch.float64)
    for b in range(B):
        n = int(lengths[b])
        if n == 0: continue
        kk = k[b, :, :n].double().repeat_interleave(H // Hk, 0); vv = v[b, :, :n].double().repeat_interleave(H // Hk, 0)
        s = q[b].double() @ kk.transpose(1, 2) * scale; pos = torch.arange(Sq, device='cuda')[:, None] + n - Sq; j = torch.arange(n, device='cuda')[None]
        m = torch.ones(Sq, n, dtype=torch.bool, device='cuda')
        if causal: m &= j <= pos
        if window: m &= j > pos - window
        if window and not causal: m &= j < pos + window
        s = s.masked_fill(~m, -math.inf); L[b] = torch.logsumexp(s, -1); pr = torch.nan_to_num(torch.softmax(s, -1)); O[b] = pr @ vv
    return O, L
def mk(B, S, H, D, layout, dt=torch.bfloat16):
    return torch.randn(B, S, H, D, device='cuda', dtype=dt).transpose(1, 2) if layout == 'bshd' else torch.randn(B, H, S, D, device='cuda', dtype=dt)
def check():
    import random; rnd = random.Random(5); cases = []
    def add(cfg, D=128, B=2, H=8, Hk=2, Sq=1, S=500, splits=1, dt=1, causal=0, window=0, lengths=None, layout='bshd', scale=None, chunk=0, page=0, bad=0, badpage=0):
        cases.append((cfg, dict(dtype=dt, head_dim=D, causal=causal, windowed=int(window > 0), paged=int(page > 0)), dict(B=B, H=H, Hk=Hk, Sq=Sq, S=S, splits=splits, window=window, lengths=lengths, layout=layout, scale=scale, chunk=chunk, page=page, bad=bad, badpage=badpage)))
    for m in (0, 1, 2):
        for s in (1, 2, 3, 7, 8, 16): add(conf(merge=m), splits=s, S=rnd.choice([64, 500, 1000, 1023, 1, 17]), lengths='ragged')
        add(conf(merge=m), H=32, Hk=32, B=1, splits=8, S=3000); add(conf(merge=m, warps=8, stages=2, blocks_per_sm=1), H=64, Hk=8, B=1, splits=16, S=3001, lengths='ragged')
        for D in (8, 40, 64, 72, 80, 96, 128, 192, 256): add(conf(merge=m, stages=2, blocks_per_sm=1, smem=int(D % 64 > 0), order=int(m != 2)), D=D, Sq=rnd.choice([1, 2, 5, 16]), causal=1, splits=5, S=777, lengths='ragged', B=3, dt=rnd.choice([0, 1]))
    for br, D in ((32, 128), (32, 64), (64, 64), (16, 256)):
        for sq in (1, 4, 16): add(conf(br=br, stages=2, blocks_per_sm=1), D=D, Sq=sq, causal=1, splits=4, H=32, Hk=4, S=900, lengths='ragged')
    for w in (1, 30, 100, 1000):
        for ca in (0, 1): add(conf(bc=32, stages=2, warps=2), Sq=3, causal=ca, window=w, splits=3, S=800, lengths='ragged', layout='bhsd')
    for sc in (-0.1, 0.0, 5.0): add(conf(), scale=sc, splits=3, S=600, Sq=2, causal=1)
    for w, st, bc in ((1, 1, 16), (1, 8, 16), (2, 2, 64), (4, 1, 64), (16, 1, 16), (16, 1, 16), (8, 3, 16)): add(conf(warps=w, stages=st, bc=bc, blocks_per_sm=1), splits=4, S=1500, lengths='ragged', Sq=2, causal=1); add(conf(warps=w, stages=st, bc=bc, blocks_per_sm=1, lazy_rescale=0), splits=1, S=1500, lengths='ragged')
    for pg in (16, 64, 256):
        for bc in (16, 32, 64): add(conf(bc=bc, stages=1 if bc == 64 else 2, blocks_per_sm=1), page=pg, splits=3, S=1024, lengths='ragged', B=4, Sq=2, causal=1, layout=rnd.choice(['bshd', 'bhsd']))
    add(conf(bc=32, stages=2), page=64, splits=2, S=1024, lengths='ragged', B=4, badpage=1); add(conf(bc=32, stages=2), page=64, splits=2, S=1024, D=72, lengths='ragged', B=4)
    for m in (0, 1): add(conf(merge=m), chunk=128, S=1000, lengths='ragged', B=4, Sq=2, causal=1); add(conf(merge=m), chunk=64, S=1000, window=100, lengths='ragged', B=4, Sq=2, causal=1); add(conf(merge=m), bad=1, splits=4, lengths='ragged', B=4)
    build([(c, t) for c, t, _ in cases]); worst = 0; fails = 0; res = []
    for c, t, x in cases:
        B, H, Hk, Sq, S, D = x['B'], x['H'], x['Hk'], x['Sq'], x['S'], t['head_dim']; dt = torch.bfloat16 if t['dtype'] else torch.float16
        q = mk(B, Sq, H, D, x['layout'], dt); k = mk(B, S, Hk, D, x['layout'], dt); v = mk(B, S, Hk, D, x['layout'], dt)
        ln = [S] * B
        if x['lengths']: ln = [min(S, rnd.choice([0, 1, 2, 15, 16, 17, S // 3, S - 1, S])) for _ in range(B)]; ln[-1] = S
        real = list(ln)
        if x['bad']: ln[0] = -1; ln[1] = S + 1
        lengths = torch.tensor(ln, dtype=torch.int32, device='cuda'); scale = x['scale'] if x['scale'] is not None else 1 / math.sqrt(D)
        o = torch.full((B, Sq, H, D) if x['layout'] == 'bshd' else (B, H, Sq, D), float('nan'), device='cuda', dtype=dt)
        if x['layout'] == 'bshd': o = o.transpose(1, 2)
        lse = torch.full((B, H, Sq), float('nan'), device='cuda'); WS[:256].zero_(); splits = x['splits']
        if x['chunk']:
            keys = min(S, x['window'] * (1 if t['causal'] else 2) + Sq + x['chunk']) if x['window'] else S
            splits = -(-keys // x['chunk'])
        kw = {}
        kk, vv = k, v
        for b in range(B):   # what lies past the length must not matter
            if not x['page']: kk[b, :, max(0, ln[b] if 0 <= ln[b] <= S else S):] = float('nan'); vv[b, :, max(0, ln[b] if 0 <= ln[b] <= S else S):] = float('nan')
        if x['page']:
            pg = x['page']; mp = S // pg; npg = B * mp + 5; perm = torch.randperm(npg, device='cuda')[:B * mp].view(B, mp); table = perm.int().contiguous()
            def pages(z):
                pz = torch.full((npg, pg, Hk, D) if x['layout'] == 'bshd' else (npg, Hk, pg, D), float('nan'), device='cuda', dtype=dt); pz = pz.transpose(1, 2) if x['layout'] == 'bshd' else pz
                for b in range(B):
                    n = ln[b]; zz = z[b].clone(); zz[:, n:] = float('nan'); pz[perm[b]] = zz.view(Hk, mp, pg, D).transpose(0, 1)
                return pz
            kk, vv = pages(k), pages(v); kw = dict(table=table, capacity=S)
            if x['badpage']: table[-1, 3] = npg; table[-1, 4] = -7; k[-1, :, 3 * pg:5 * pg] = 0; v[-1, :, 3 * pg:5 * pg] = 0
        torch.cuda.synchronize()
        try:
            go = launcher(c, t, q, kk, vv, o, splits, lse, lengths if x['lengths'] else None, x['window'], x['chunk'], scale, **kw)
            run_now(go); first = o.clone(); fl = lse.clone(); o.fill_(float('nan')); torch.cuda.synchronize(); go(SP); go(SP); run_now(go)
        except Exception as e: print('FAIL', short(c, x['splits']), t, x, e); fails += 1; continue
        O, L = reference(q, torch.nan_to_num(k), torch.nan_to_num(v), [0 if x['bad'] and b < 2 else n for b, n in enumerate(ln)], t['causal'], x['window'], scale)
        good = slice(2 if x['bad'] else 0, B)
        e = ((o.double() - O)[good].norm() / (O[good].norm() + 1e-30)).item(); mx = (o.double() - O)[good].abs().max().item(); lf, Lf = lse[good].double(), L[good]
        le = torch.nan_to_num(lf - Lf, nan=0.0 if torch.equal(torch.isinf(lf), torch.isinf(Lf)) and not torch.isnan(lf).any() else 9.0).abs().max().item()
        same = torch.equal(torch.nan_to_num(o), torch.nan_to_num(first)); clean = int(WS[256:4096].max()) == 0; status = int(WS[0])
        want = (1 if x['bad'] else 0) + (2 if x['badpage'] else 0); unt = not x['bad'] or bool(torch.isnan(o[:2]).all())
        ok = e < (4e-3 if t['dtype'] else 1e-3) * (1 if scale < 1 else 3) and le < 2e-3 and same and clean and status == want and unt
        if x['chunk'] and ok:  # pinned: the last sequence alone gives the same bits
            o2 = torch.empty_like(o[-1:]); run_now(launcher(c, t, q[-1:], kk[-1:], vv[-1:], o2, splits, None, lengths[-1:].contiguous(), x['window'], x['chunk'], scale)); ok = torch.equal(o2, o[-1:])
        worst = max(worst, e)
        if not ok: fails += 1; print('FAIL', short(c, x['splits']), t, {a: b for a, b in x.items() if b}, f'rel {e:.2e} max {mx:.2e} lse {le:.2e} same {same} clean {clean} status {status} untouched {unt} lens {ln}')
    print(f'CHECK {len(cases)} cases, {fails} fail, worst rel {worst:.2e}; {time.time()-T0:.0f}s')
# ---- timing
CELLS = [(128, b, h, hk, s) for h, hk, l in ((32, 8, [(1, 1024), (1, 8192), (1, 32768), (1, 131072), (8, 1024), (8, 8192), (8, 32768), (32, 1024), (32, 8192), (128, 1024), (128, 4096)]),
    (32, 32, [(1, 1024), (1, 8192), (1, 32768), (1, 131072), (8, 1024), (8, 8192), (8, 32768), (32, 1024), (32, 8192), (128, 1024), (128, 4096)]),
    (64, 8, [(1, 1024), (1, 8192), (1, 32768), (1, 131072), (8, 1024), (8, 8192), (8, 32768), (32, 1024), (32, 8192), (128, 1024), (128, 4096)])) for b, s in l] + \
    [(64, 1, 12, 12, 1024), (64, 1, 12, 12, 16384), (64, 32, 12, 12, 2048), (64, 128, 12, 12, 1024)]
SHAPES = {128: [(16, 4, 3, 2), (16, 4, 2, 3), (16, 8, 3, 1), (16, 8, 2, 1), (32, 4, 3, 1), (32, 4, 2, 1), (32, 4, 1, 2), (32, 2, 3, 2), (32, 2, 2, 3), (16, 4, 4, 1)],
          64: [(16, 4, 6, 2), (16, 4, 3, 4), (16, 4, 4, 3), (32, 4, 3, 2), (32, 4, 2, 3), (32, 2, 3, 4), (32, 8, 3, 1), (32, 8, 2, 1), (16, 8, 3, 2), (16, 8, 2, 3), (16, 8, 6, 1), (64, 4, 1, 2)]}
TR = lambda D: dict(dtype=1, head_dim=D, causal=0, windowed=0, paged=0)
def split_choices(seqs, S, c):
    most = max(1, S // (c['bc'] * c['warps'])); occ = c['blocks_per_sm']; out = set()
    for blocks in (48, 64, 96, 132, 198, 264, 396, 528, 792, 1056, 2112):
        for x in (blocks // seqs, -(-blocks // seqs)):
            if x >= 1 and x <= most and seqs * x <= 132 * occ * 5: out.add(x)
    if seqs >= 96: out |= {1, 2, 4} if most >= 4 else {1}
    if seqs <= 16 and most >= 16: out.add(16)
    if seqs <= 16 and most >= 8: out.add(8)
    return sorted(x for x in out if x <= 160)
class Cell:
    def __init__(s, cell, layout):
        s.cell = D, B, H, Hk, S = cell; s.kv = 4 * B * Hk * S * D; s.n_sets = max(2, min(48, int(160e6 / s.kv) + 1)); s.layout = layout
        s.n = max(s.n_sets, min(300, int(2500 / (s.kv / 4.5e6 + 4)) + 1), 3)
        s.sets = [(mk(B, 1, H, D, layout), mk(B, S, Hk, D, layout), mk(B, S, Hk, D, layout)) for _ in range(s.n_sets)]
        s.o = torch.empty_like(s.sets[0][0]); s.peers = {}
        for nm, be in (('cudnn', SDPBackend.CUDNN_ATTENTION), ('flash', SDPBackend.FLASH_ATTENTION)):
            def f(q, k, v, be=be):
                with sdpa_kernel(be): return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=H != Hk)
            try:
                with torch.cuda.stream(ST): ref = f(*s.sets[0]).float()
                torch.cuda.synchronize(); s.ref = ref; s.peers[nm] = tgraph([lambda q=q, k=k, v=v, f=f: f(q, k, v) for q, k, v in s.sets], s.n)
            except Exception as e: print('peer', nm, cell, str(e)[:200])
    def candidate(s, c, splits, pdl=0, check=True):
        t = TR(s.cell[0]); gos = [launcher(c, t, q, k, v, s.o, splits, pdl=pdl) for q, k, v in s.sets]
        if check:
            s.o.fill_(float('nan')); torch.cuda.synchronize(); run_now(gos[0]); e = ((s.o.float() - s.ref).norm() / s.ref.norm()).item()
            if not e < 1e-2: raise RuntimeError(f'WRONG rel {e:.3g} {short(c, splits)}')
        g = graph(gos, s.n); g.gos = gos; return g
def sweep_cell(cell, layout, log, budget):
    t0 = time.time(); D, B, H, Hk, S = cell; s = Cell(cell, layout); seqs = B * Hk; reps = 2; tried = []
    def one(c, sp, pdl=0, reps=reps):
        try: g = s.candidate(c, sp, pdl)
        except Exception as e: print('  !', cell, str(e)[:160]); return
        tried.append([timeg(g, reps), c, sp, pdl]); g.drop()
    for bc, w, st, b in SHAPES[D]:
        c = conf(bc=bc, warps=w, stages=st, blocks_per_sm=b)
        for sp in split_choices(seqs, S, c):
            if time.time() - t0 < budget: one(c, sp)
    tried.sort(key=lambda x: x[0]); base = tried[:4]; small = s.kv < 70e6
    if small:   # the cluster merge may like other shapes
        for x in [x for x in tried if x[2] in (8, 16) or (x[2] <= 16)][:4]:
            if x not in base: base.append(x)
    for _, c, sp, _ in list(base):
        for m in (0, 1, 2) if sp > 1 else (0,):
            for od in (0, 1):
                if m == 2 and (od or sp > 16): continue
                if (m, od) == (0, 0): continue
                one(dict(c, merge=m, order=od), sp)
    tried.sort(key=lambda x: x[0]); finals = tried[:3]; pd = []
    gs = {'ours%d' % i: s.candidate(x[1], x[2], 0) for i, x in enumerate(finals)}
    gs.update(s.peers)
    ts = {k: [] for k in gs}
    for _ in range(9):
        for k, g in gs.items(): ts[k].append(time1(g))
    med = {k: statistics.median(v) for k, v in ts.items()}; i = min(range(len(finals)), key=lambda i: med['ours%d' % i]); best = finals[i]
    ours = med['ours%d' % i]; pdl = ours; peer = min(med[k] for k in s.peers)
    r = dict(cell=cell, layout=layout, ours=ours, pdl=pdl, cudnn=med.get('cudnn'), flash=med.get('flash'), ratio=peer / ours, pdl_ratio=peer / pdl, gbs=s.kv / ours / 1e3, config=short(best[1], best[2]), tried=[(round(x[0], 2), short(x[1], x[2], x[3])) for x in tried])
    log.append(r); json.dump(log, open(OUT + '/sweep.json', 'w'))
    print(f"d{D} b{B} {H}/{Hk} s{S} {layout} {s.kv>>20}MiB | ours {ours:.1f} ({r['config']}) pdl {pdl:.1f} | cudnn {med.get('cudnn',0):.1f} flash {med.get('flash',0):.1f} | {r['ratio']:.3f} pdl {r['pdl_ratio']:.3f} | {r['gbs']:.0f} GB/s | {len(tried)} in {time.time()-t0:.1f}s", flush=True)
def all_shapes(Ds):
    return [(conf(bc=bc, warps=w, stages=st, blocks_per_sm=b, merge=m, order=o), TR(D)) for D in Ds for bc, w, st, b in SHAPES[D] for m in (0, 1, 2) for o in (0, 1) if not (m == 2 and o)]
def sweep(cells, layout, limit, budget=3):
    items = all_shapes(sorted({c[0] for c in cells})); build(items)
    for c, t in items:
        if c['merge'] == 0 and c['order'] == 0: r = load(c, t); print(short(c, 0), t['head_dim'], 'regs', r[3], 'local', r[4]) if r[4] or c['bc'] == 64 else None
    log = []
    for cell in cells:
        if time.time() - T0 > limit: print('out of time before', cell); break
        try: sweep_cell(cell, layout, log, budget)
        except Exception as e: print('CELL FAIL', cell, str(e)[:300])
        torch.cuda.empty_cache()
    g = lambda k: math.exp(statistics.fmean(math.log(r[k]) for r in log))
    if log: print(f"GEOMEAN {g('ratio'):.3f} least {min(r['ratio'] for r in log):.3f}; pdl {g('pdl_ratio'):.3f} least {min(r['pdl_ratio'] for r in log):.3f}; {time.time()-T0:.0f}s")
if __name__ == '__main__':
    if 'check' in sys.argv: check()
    if 'sweep' in sys.argv: sweep(CELLS, 'bhsd' if 'bhsd' in sys.argv else 'bshd', float(sys.argv[-1]))
