"""What the page shows of each benchmark: (what, {label: path in its result}); what is not there is left out."""


def over(path, peers):
    """{"over PEER": path of the ratio to it}."""
    return {f"over {name}": f"{path}/over_{key}" for key, name in peers.items()}


TREE_PEERS = {"catboost": "CatBoost", "xgboost": "XGBoost", "lightgbm": "LightGBM"}
ON_GPU = {"catboost_gpu": "CatBoost on the same card", "xgboost_gpu": "XGBoost on the same card"}
VECTOR = {"xgboost_vector": "XGBoost's vector leaves"}
WORKS = {
    "20k_50_64": "20k x 50, 64 bins",
    "200k_50_64": "200k x 50, 64 bins",
    "200k_50_255": "200k x 50, 255 bins",
    "200k_20_255": "200k x 20, 255 bins",
    "100k_28_64_classes": "100k x 28, 64 bins, 10 classes",
    "100k_28_255_classes": "100k x 28, 255 bins, 10 classes",
}
FLOW_PEERS = {"flowjax": "flowjax", "distrax": "distrax", "normflows_1_threads": "normflows, 1 thread"}
FLOW_PEERS |= {"normflows_2_threads": "normflows, 2 threads"}
FLOWS = {
    "vectors": "RealNVP of 2-D, 8 couplings, 2 x 128, batch 4096",
    "images": "Glow of 32 x 32 x 3, 3 levels of 8 steps, batch 16",
}
STEPS = {
    "nice_mnist": "`nice_mnist`",
    "realnvp_cifar10": "`realnvp_cifar10`",
    "glow_cifar10": "`glow_cifar10`",
    "jet_imagenet64": "`jet_imagenet64`",
    "ddpm_cifar10": "`ddpm_cifar10`",
    "edm_cifar10": "`edm_cifar10`",
    "dit_b": "DiT-B/4 of 64 x 64 x 3, bfloat16, plain",
    "dit_b_fused": "the same, cuDNN's attention, blocks written out",
    "dit_xl": "DiT-XL/4, plain",
    "dit_xl_fused": "the same, cuDNN's attention, blocks written out",
}


def flow_rows(name, what):
    """Rows of a flow: a peer's time over ours."""
    for kind, verb in (("step", "a training step"), ("sample", "sampling")):
        ours = {"ours (ms)": f"{name}/ours/{kind}_ms"}
        theirs = {f"{peer} over ours": f"{name}/{kind}_over_ours/{key}" for key, peer in FLOW_PEERS.items()}
        yield f"{verb}, {what}", ours | theirs


def tree_rows(work, what):
    """Rows of a table: ours by rows and by features, and level-wise trees by what is the faster there."""
    peers = TREE_PEERS | VECTOR | ON_GPU
    for kind in ("rows", "features"):
        path = f"{work}/oblivious_{kind}"
        yield f"a tree, oblivious, by {kind}, {what}", {"ms": f"{path}/ms"} | over(path, peers)
    path = f"{work}/levelwise_rows"
    yield f"a tree, level-wise, by rows, {what}", {"ms": f"{path}/ms"} | over(path, peers)


def forest_rows(kind, what):
    """Rows of forests of 200 trees on three tables."""
    for table in ("digits", "adult", "made"):
        path = f"forest_{kind}_{table}/ours"
        yield f"a forest of 200, {what}, {table}", {"s": f"{path}/s", "over scikit-learn": f"{path}/over_sklearn"}


ROWS = {
    "loop": [("a step of about 1 ms in the loop", {"over the bare step": "ratio", "median": "ratio_median"})],
    "nets": [
        ("compiling a step of DiT, width 384", {"48 blocks over 12": "compile_ratio"}),
        ("compiled over counted FLOPs", {"U-Net": "flops_ratio_unet_ddpm", "DiT-S": "flops_ratio_dit_s"}),
        ("memory of a step of DiT-S", {"remat over plain": "remat_memory_ratio"}),
    ],
    "steps": [
        (
            f"a training step, {what}",
            {
                "batch": f"{name}/batch",
                "ms": f"{name}/ms",
                "examples a second": f"{name}/examples_per_s",
                "TFLOP/s": f"{name}/tflops",
                "MFU": f"{name}/mfu",
                "MiB": f"{name}/mib",
                "seconds to compile": f"{name}/compile_s",
            },
        )
        for name, what in STEPS.items()
    ],
    "flows": [
        *(row for name, what in FLOWS.items() for row in flow_rows(name, what)),
        (
            "seconds to compile that RealNVP with 64 couplings",
            {who: f"compile_s_at_64/{who}" for who in ("ours", "flowjax", "distrax")},
        ),
        ("temporary memory, 64 couplings over 8", {"reversible": "depth/reversible/temporary_bytes/ratio"}),
    ],
    "samplers": [
        (
            "50 steps, U-Net of 8 x 8, batch 64, over its calls of the net",
            {name: f"over_net/{name}" for name in ("ddim", "ddpm", "euler", "heun", "dpm_solver_pp")},
        ),
        (
            "DDIM of diffusers over ours",
            {f"threads: {n}, ratio": f"diffusers/{n}_threads/over_ours" for n in (1, 2)}
            | {f"its net alone, {n}, ratio": f"diffusers/{n}_threads/net_over_ours" for n in (1, 2)},
        ),
        ("200 steps of diffrax's Euler over a scan's", {name: f"reverse_sde/{name}" for name in ("unet", "mlp")}),
    ],
    "couplings": [
        (
            f"pairing a batch of 256 over a training step, {case}",
            {name: f"{case}/{name}" for name in ("exact", "exact_by_class", "sinkhorn", "sinkhorn_by_class")}
            | {"POT's exact": f"{case}/pot_exact"},
        )
        for case in ("digits", "points")
    ],
    "trees": [
        *(row for work, what in WORKS.items() for row in tree_rows(work, what)),
        (
            "1000 models of 500 x 10, 50 trees of depth 4",
            {"s with compiling": "1000_models/ours/s"}
            | {
                f"over {name}{how}": f"1000_models/ours/over_{key}_{n}_processes"
                for key, name in TREE_PEERS.items()
                for n, how in ((1, ""), (2, " in 2 processes"))
            },
        ),
        (
            "predicting 1M rows by 500 trees of depth 6",
            {"ms": "predict_1m_500/ours/ms"} | over("predict_1m_500/ours", TREE_PEERS),
        ),
        *(
            (
                f"most memory, 2M x 50, by {kind}",
                {"MiB": f"memory_2m_50/{kind}/mib"} | over(f"memory_2m_50/{kind}", TREE_PEERS),
            )
            for kind in ("rows", "features")
        ),
    ],
    "ensembles": [
        *forest_rows("binned", "254 borders, 16 deep"),
        *forest_rows("exact", "all values, until pure"),
        (
            "500 stumps on Adult",
            {"s": "adaboost_adult/ours/s", "over scikit-learn": "adaboost_adult/ours/over_sklearn"},
        ),
        (
            "mean rank of losses in five folds, 26 tables",
            {name: f"quality/mean_rank/both/{name}" for name in ("ours", "catboost", "xgboost", "lightgbm", "sklearn")},
        ),
    ],
    "sweep": [
        (
            f"trials as one program, {what}",
            {"trials": f"{name}/trials", "s": f"{name}/seconds/one_program"}
            | {
                f"{way} over it": f"{name}/{way} over one_program"
                for way in ("one_process", "separate", "separate, two at once")
            },
        )
        for name, what in (("toy2d", "`rectified_flow_toy2d`"), ("trees", "`gbdt_oblivious_california`"))
    ],
    "data": [
        ("batches a second from memory", {name: f"batches/{name}_batches_per_second" for name in ("digits", "mnist")}),
        (
            "shards in order, rows a second",
            {
                "rows a second": "reading/rows_per_second/in_order",
                "over pyarrow's scan": "reading/in_order_over_scan",
                "with checksums": "reading/in_order_over_scan_checked",
            },
        ),
        (
            "shards shuffled",
            {
                "rows a second": "reading/rows_per_second/shuffled",
                "over row by row": "reading/shuffled_over_one_by_one",
            },
        ),
        *(
            (
                f"CSV of {rows} x 20 to shards",
                {
                    "Spark (s)": f"preparing/{rows}/spark",
                    "pandas (s)": f"preparing/{rows}/pandas",
                    "ratio": f"preparing/{rows}/spark_over_pandas",
                },
            )
            for rows in (20_000, 200_000, 2_000_000)
        ),
        (
            "trees on a table five times their memory",
            {"bytes it may take": "external/limit", "bytes at most": "external/peak", "s": "external/seconds"},
        ),
    ],
}
