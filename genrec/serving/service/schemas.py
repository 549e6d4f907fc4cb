"""The bodies of requests and responses, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from genrec.serving.service.settings import MAX_EXCLUDE, MAX_HISTORIES, MAX_HISTORY, MAX_K, MAX_NAME


def _whole(number: Any) -> Any:
    """10 for 10.0, which is an integer in JSON Schema; anything else unchanged."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Name = Annotated[str, Field(max_length=MAX_NAME)]
Whole = Annotated[int, BeforeValidator(_whole)]
History = Annotated[list[Name], Field(max_length=MAX_HISTORY)]


class RecommendRequest(BaseModel):
    """One history or several, and how to recommend."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "oneOf": [{"required": ["history"]}, {"required": ["histories"]}],
            "examples": [{"history": ["item-1", "item-7"], "k": 5}],
        },
    )

    history: History = Field(default_factory=list, description="Keys or titles of items, oldest first.")
    histories: Annotated[list[History], Field(min_length=1, max_length=MAX_HISTORIES)] = Field(
        default_factory=list, description="Several histories, in place of `history`."
    )
    k: Whole = Field(10, ge=1, le=MAX_K, description="Number of items to recommend.")
    seen: Literal["filter", "keep"] | None = Field(
        "filter", description="Items of the history: `filter` leaves them out; null follows the recipe."
    )
    exclude: Annotated[list[Name], Field(max_length=MAX_EXCLUDE)] = Field(
        default_factory=list, description="Keys or titles of items that no list may have."
    )
    merge: str | None = Field(None, description="A merge or a stream of `GET /runs`; null: the merge of the run.")
    explain: bool = Field(True, description="Whether each item has its streams' rank, log-probability and share.")
    run: str | None = Field(None, description="Name of the run; null: that of the query, else the first.")

    @model_validator(mode="after")
    def _check_one_of_both(self) -> RecommendRequest:
        if ("history" in self.model_fields_set) == ("histories" in self.model_fields_set):
            raise ValueError("expected either history or histories")
        return self

    def listed(self) -> list[list[str]]:
        """The histories, of which ``history`` is the only one."""
        return self.histories or [self.history]


class Vote(BaseModel):
    """One stream's evidence for a recommended item."""

    rank: int | None = Field(description="Place in the stream's own list, from 1; null if it is not in it.")
    log_prob: float | None = Field(description="Log-probability in nats; null if it is not known.")
    share: float = Field(description="The stream's part of the streams' probabilities of the item.")
    semantic_id: list[int] | None = Field(description="Codes of the item; null without codes.")
    neighbors: list[str] = Field(description="Keys of items whose codes differ in the last one only.")


class ItemSummary(BaseModel):
    """An item in a list."""

    key: str
    title: str = Field(description="Empty if the item has none.")
    image: str | None = Field(description="URL of an image, relative to the root of the service; null without one.")


class RecommendedItem(ItemSummary):
    """A recommended item."""

    score: float = Field(description="Score of the merge; in a fallback list the share of all training purchases.")
    streams: dict[str, Vote] = Field(description="By stream; empty without `explain` and in a fallback list.")


class RecommendedList(BaseModel):
    """The list for one history."""

    items: list[RecommendedItem] = Field(description="Best first.")
    unknown: int = Field(description="Number of items of the history that are not in the catalog.")
    fallback: bool = Field(description="Whether these are popular items because no item of the history is known.")


class RecommendResponse(BaseModel):
    """A list for each history."""

    run: str
    results: list[RecommendedList] = Field(description="In the order of the histories.")


class StreamDescription(BaseModel):
    """One stream of a run."""

    name: str
    writes_codes: bool = Field(description="Whether the stream generates semantic IDs and has a tree of codes.")
    has_vectors: bool = Field(description="Whether items have vectors in it, for `GET /similar`.")
    levels: int
    vocabulary_sizes: list[int] = Field(description="Number of codes of each level.")


class Estimate(BaseModel):
    """A mean over test users and its bootstrap interval."""

    mean: float
    low: float
    high: float


class Method(BaseModel):
    """A method that the run evaluated."""

    name: str
    kind: str = Field(description="merge, pair, stream, baseline or oracle.")
    metrics: dict[str, Estimate] = Field(examples=[{"NDCG@10": {"mean": 0.05, "low": 0.04, "high": 0.06}}])


class RunDescription(BaseModel):
    """A run that is served."""

    name: str
    title: str
    dataset: str | None
    items: int
    streams: list[StreamDescription]
    merges: list[str] = Field(description="Merges that `POST /recommend` accepts, that of the run first.")
    merge: str = Field(description="The merge of the run.")
    seen: Literal["filter", "keep"] = Field(description="How the recipe treats items of the history.")
    images: Literal["loading", "available", "none"]
    metrics: list[Method] = Field(description="Metrics at the main cutoff of each method; empty if not known.")


class FoundItem(ItemSummary):
    """An item that a search found."""

    count: int | None = Field(description="Purchases in training; null in runs of earlier versions.")


class FoundItems(BaseModel):
    """One page of the items that match a query."""

    items: list[FoundItem]
    total: int = Field(description="Number of items that match.")


class ItemDetails(FoundItem):
    """An item and its semantic IDs."""

    semantic_ids: dict[str, list[int] | None] = Field(
        description="By stream that generates codes; null where the item has none."
    )


class SimilarItem(ItemSummary):
    """An item with a similar vector."""

    cosine: float = Field(description="Cosine similarity of the item vectors.")
    semantic_id: list[int] | None
    shared_codes: int = Field(description="Length of the prefix of codes that both items share.")


class SimilarItems(BaseModel):
    """Items with similar vectors in one stream."""

    stream: str
    items: list[SimilarItem] = Field(description="Most similar first; empty if the item has no vector in the stream.")


class TreeChild(BaseModel):
    """A child of a node in the tree of codes."""

    code: int
    num_items: int = Field(description="Number of items below it.")
    examples: list[ItemSummary] = Field(description="Its most popular items; the item itself if it is a leaf.")
    is_leaf: bool


class TreeNode(BaseModel):
    """A node in a stream's tree of codes, and its children."""

    stream: str
    levels: int
    prefix: list[int] = Field(description="Codes that lead to the node; empty for the root.")
    num_items: int = Field(description="Number of items below the node.")
    total: int = Field(description="Number of children; `children` has one page of them.")
    children: list[TreeChild] = Field(description="In the order of their codes.")
    path: list[int] | None = Field(description="The semantic ID of `item`; null without one.")


class Health(BaseModel):
    """The state of the process."""

    status: Literal["ok", "ready"]


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "k: found 0, expected at least 1"}]})

    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Error responses of a route for the OpenAPI document."""
    reasons = {
        401: "The API key is missing or wrong.",
        404: "There is no such run, merge, stream, item, node or image.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        421: "The header Host names another server.",
        422: "A value is not valid; the text names it.",
        429: "Too many requests are waiting; try again later.",
        500: "A bug; the log of the service has the details.",
        503: "The models are being loaded, the request took too long, or the service is being stopped.",
    }
    return {status: {"model": Problem, "description": reasons[status]} for status in statuses}
