import sys; sys.argv = sys.argv
from harness import *
import harness as h
def variants():
    sets = {0: {}, 1: {}, 2: {}, 3: {}, 4: {}, 5: {}}
    base_src = h.source; base_opts = list(h.OPTS)
    confs = [conf(bc=16, warps=8, stages=3, blocks_per_sm=1), conf(bc=16, warps=4, stages=2, blocks_per_sm=3), conf(bc=32, warps=4, stages=3, blocks_per_sm=1), conf(bc=32, warps=2, stages=2, blocks_per_sm=3)]
    cells = [((128, 1, 32, 8, 32768), [16]), ((128, 1, 32, 8, 131072), [16]), ((128, 8, 32, 8, 8192), [1, 2]), ((128, 32, 32, 8, 1024), [1]), ((128, 32, 32, 8, 8192), [1]), ((128, 32, 32, 32, 1024), [1])]
    cs = [(Cell(c, 'bshd'), sp) for c, sp in cells]; built = {}
    for v in sets:
        h.CUBINS.clear(); h.LOADED.clear(); h.source = lambda c, t, extra='', v=v: base_src(c, t, f'#define V {v}'); h.OPTS[:] = [f'-I{HERE}/var'] + base_opts
        build([(c, TR(128)) for c in confs])
        for c in confs:
            for i, (s, sps) in enumerate(cs):
                for sp in sps:
                    try: built[(i, short(c, sp), v)] = s.candidate(c, sp)
                    except Exception as e: print('!', v, str(e)[:100])
    ts = {k: [] for k in built}
    for _ in range(7):
        for k, g in built.items(): ts[k].append(time1(g))
    for i, (s, _) in enumerate(cs):
        print(s.cell)
        for n in sorted({k[1] for k in built if k[0] == i}): print('   ', n, ' '.join(f'V{v} {statistics.median(ts[(i, n, v)]):.2f}' for v in sets if (i, n, v) in ts))
    h.CUBINS.clear(); h.LOADED.clear(); h.source = base_src; h.OPTS[:] = base_opts
def latency():
    D, B, H, Hk, S = 128, 1, 32, 8, 1024; t = TR(D); sets = [(mk(B, 1, H, D, 'bshd'), mk(B, S, Hk, D, 'bshd'), mk(B, S, Hk, D, 'bshd')) for _ in range(40)]; o = torch.empty_like(sets[0][0])
    for m in (0, 1, 2):
        for bc, w, st, b in ((32, 4, 1, 2), (16, 4, 3, 2), (16, 8, 1, 2)):
            c = conf(bc=bc, warps=w, stages=st, blocks_per_sm=b, merge=m); build([(c, t)]); line = []
            for nm, ln, sp in (('none', None, 8), ('bad', -1, 8), ('len0', 0, 8), ('len64', 64, 8), ('len128', 128, 8), ('len512', 512, 8), ('len1024', 1024, 8), ('split1', None, 1), ('split4', None, 4), ('split16', None, 16)):
                L = torch.full((B,), ln, dtype=torch.int32, device='cuda') if ln is not None else None
                try: g = graph([launcher(c, t, q, k, v, o, sp, lengths=L) for q, k, v in sets], 40); line.append(f'{nm} {timeg(g, 9):.2f}'); g.drop()
                except Exception as e: line.append(f'{nm} {str(e)[:40]}')
            print(short(c, 0), ' '.join(line))
    x = torch.zeros(1024, device='cuda'); g = tgraph([lambda: x.add_(1)], 40); print('torch add_ of 1024', timeg(g, 9))
def rows():
    for D, B, H, Hk, S, Sq in ((128, 8, 32, 8, 8192, 4), (128, 8, 32, 8, 8192, 8), (128, 8, 32, 8, 8192, 16), (128, 8, 64, 8, 8192, 16), (128, 1, 32, 8, 8192, 4), (64, 32, 12, 12, 2048, 16)):
        sets = [(mk(B, Sq, H, D, 'bshd'), mk(B, S, Hk, D, 'bshd'), mk(B, S, Hk, D, 'bshd')) for _ in range(max(2, int(160e6 / (4 * B * Hk * S * D)) + 1))]; o = torch.empty_like(sets[0][0]); n = max(len(sets), 8); t = TR(D); res = []; peers = {}
        for nm, be in (('cudnn', SDPBackend.CUDNN_ATTENTION), ('flash', SDPBackend.FLASH_ATTENTION)):
            def f(q, k, v, be=be):
                with sdpa_kernel(be): return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=H != Hk)
            peers[nm] = timeg(tgraph([lambda q=q, k=k, v=v, f=f: f(q, k, v) for q, k, v in sets], n), 5)
        q, k, v = sets[0]; ref = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=H != Hk).float()
        cs = [conf(br=br, bc=bc, warps=w, stages=st, blocks_per_sm=b, order=od, merge=m) for br in (16, 32, 64) if br < D for bc, w, st, b in ((16, 4, 3, 2), (16, 8, 3, 1), (32, 4, 3, 1), (32, 4, 2, 1), (16, 8, 2, 1), (32, 8, 1, 1), (16, 4, 2, 3)) for od in (0, 1) for m in (0, 2) if not (m == 2 and od)]
        build([(c, t) for c in cs])
        for c in cs:
            tiles = -(-(H // Hk * Sq) // c['br'])
            for sp in sorted({max(1, x // (B * Hk * tiles)) for x in (66, 132, 264, 528)} | {1, 2, 4}):
                if c['merge'] == 2 and not 1 < sp <= 16: continue
                try:
                    gos = [launcher(c, t, q, k, v, o, sp) for q, k, v in sets]; run_now(gos[0]); e = ((o.float() - ref).norm() / ref.norm()).item()
                    if not e < 1e-2: print('WRONG', short(c, sp), e); continue
                    g = graph(gos, n); res.append((timeg(g, 3), short(c, sp))); g.drop()
                except Exception as e: pass
        res.sort(); print((D, B, H, Hk, S, Sq), f'cudnn {peers["cudnn"]:.1f} flash {peers["flash"]:.1f} ours', [(round(a, 1), b) for a, b in res[:3]], 'best per br', {br: round(min([a for a, b in res if b.startswith(f'{br}x')], default=0), 1) for br in (16, 32, 64)}, flush=True)
def paged():
    for D, B, H, Hk, S, sp, cs in ((128, 8, 32, 8, 8192, 2, [(32, 4, 3, 1), (16, 8, 3, 1), (16, 4, 2, 3)]), (128, 32, 32, 8, 1024, 1, [(32, 2, 2, 3), (16, 4, 2, 3)]), (128, 1, 32, 8, 8192, 16, [(16, 8, 3, 1), (32, 4, 3, 1)]), (128, 32, 32, 8, 8192, 1, [(16, 4, 2, 3), (32, 4, 3, 1), (32, 2, 3, 2)])):
        n = 4 if B * S > 100000 else 12; ns = max(2, min(n, int(160e6 / (4 * B * Hk * S * D)) + 1)); qs = [mk(B, 1, H, D, 'bshd') for _ in range(ns)]; ks = [mk(B, S, Hk, D, 'bshd') for _ in range(ns)]; vs = [mk(B, S, Hk, D, 'bshd') for _ in range(ns)]; o = torch.empty_like(qs[0])
        for bc, w, st, b in cs:
            line = []
            for pg in (0, 16, 64, 256):
                c = conf(bc=bc, warps=w, stages=st, blocks_per_sm=b, order=1); t = dict(TR(D), paged=int(pg > 0)); compile1((c, t)); gos = []
                for q, k, v in zip(qs, ks, vs):
                    if pg == 0: gos.append(launcher(c, t, q, k, v, o, sp))
                    else:
                        pk = k.transpose(1, 2).reshape(B * S // pg, pg, Hk, D).transpose(1, 2); pv = v.transpose(1, 2).reshape(B * S // pg, pg, Hk, D).transpose(1, 2)
                        tb = torch.randperm(B * S // pg, device='cuda').int().view(B, S // pg).contiguous(); go = launcher(c, t, q, pk, pv, o, sp, table=tb, capacity=S); go.tb = (tb, pk, pv); gos.append(go)
                torch.cuda.synchronize(); g = graph(gos, n); line.append(f'page {pg}: {timeg(g, 5):.1f}'); g.drop()
            print((D, B, H, Hk, S), short(c, sp), ' '.join(line), flush=True)
def steady():
    import re
    for f in ('sweep1.json',):
        for r in json.load(open(f'{HERE}/results/{f}')):
            cell = tuple(r['cell'])
            if r['cell'][1] * r['cell'][2] > 300 and r['cell'][4] > 2048: continue
            s = Cell(cell, 'bshd'); line = []
            m = re.match(r'(\d+)x(\d+) w(\d+) s(\d+) b(\d+) split(\d+) (\w+) (\w+)', r['config']); c = conf(br=int(m[1]), bc=int(m[2]), warps=int(m[3]), stages=int(m[4]), blocks_per_sm=int(m[5]), merge=('last', 'kernel', 'cluster').index(m[7]), order=('sf', 'hf').index(m[8]))
            build([(c, TR(cell[0]))]); s.n = max(s.n, min(400, int(3e3 / r['ours']) + 1)); cand = {'ours': s.candidate(c, int(m[6]))}
            for nm, be in (('cudnn', SDPBackend.CUDNN_ATTENTION), ('flash', SDPBackend.FLASH_ATTENTION)):
                def f(q, k, v, be=be):
                    with sdpa_kernel(be): return torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=cell[2] != cell[3])
                cand[nm] = tgraph([lambda q=q, k=k, v=v, f=f: f(q, k, v) for q, k, v in s.sets], s.n)
            ts = {k: statistics.median(time1(g, 0) for _ in range(5)) for k, g in cand.items()}
            print(cell, r['config'], f'steady n={s.n}:', ' '.join(f'{k} {v:.2f}' for k, v in ts.items()), f'burst: ours {r["ours"]:.2f} cudnn {r["cudnn"]:.2f}', f'ratio {min(ts["cudnn"], ts["flash"]) / ts["ours"]:.3f}', flush=True)
            del s, cand; torch.cuda.empty_cache()
def stamps():
    base = list(h.OPTS); h.OPTS[:] = [f'-I{HERE}/var2'] + base; D, B, H, Hk, S = 128, 1, 32, 8, 1024; t = TR(D)
    sets = [(mk(B, 1, H, D, 'bshd'), mk(B, S, Hk, D, 'bshd'), mk(B, S, Hk, D, 'bshd')) for _ in range(40)]; o = torch.empty_like(sets[0][0])
    names = ['start', 'keys', 'issued', 'Qland', 'Kland', 'qk', 'softmax', 'pv', 'loopend', 'staged', 'merged', 'clwait', 'end', 'last?']
    for m, sp in ((2, 8), (0, 8), (0, 1)):
        for bc, w, st, b in ((32, 4, 1, 2), (32, 4, 3, 1), (16, 8, 1, 2)):
            c = conf(bc=bc, warps=w, stages=st, blocks_per_sm=b, merge=m); build([(c, t)]); bufs = [torch.zeros(16, dtype=torch.int64, device='cuda') for _ in sets]
            gos = []
            for (q, k, v), bf in zip(sets, bufs):
                go = launcher(c, t, q, k, v, o, sp); go.keep[0].table = bf.data_ptr(); gos.append(go)
            g = graph(gos, 40); us = timeg(g, 5); X = torch.stack(bufs).cpu().numpy()[5:]
            d = {names[i]: int(statistics.median((X[:, i] - X[:, 0]).tolist())) for i in range(14) if (X[:, i] > 0).any()}
            print(short(c, sp), f'{us:.2f} us', d, flush=True)
    h.OPTS[:] = base; h.CUBINS.clear(); h.LOADED.clear()
for a in sys.argv[1:]: print('##', a); {'variants': variants, 'latency': latency, 'rows': rows, 'paged': paged, 'steady': steady, 'stamps': stamps}[a]()

