"""The tools as filtering shows them, as metrics: what `/api/filtering/stats` says, under Prometheus names.

Owns those names. Counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.exposure.policy import Policy
from hub_gateway.management.bodies import rate
from hub_gateway.management.filter_stats import MODES, Counts, families, saved_at_start


def filter_families(counts: Counts, policy: Policy) -> Iterator[Metric]:
    """Every family of filtering. There is a sample for each mode, 0 for those not in force."""
    yield GaugeMetricFamily("mcp_hub_tools", "Tools of all connected servers.", value=counts.total)
    yield GaugeMetricFamily("mcp_hub_tools_exposed", "Of these, allowed by the filter.", value=counts.exposed)
    at_start = "Of these, seen by a client that has asked for nothing yet."
    yield GaugeMetricFamily("mcp_hub_tools_visible_at_start", at_start, value=counts.at_start)
    yield GaugeMetricFamily("mcp_hub_tools_filtered", "Tools that the filter hides.", value=counts.hidden)
    if (hidden := rate(counts.hidden, counts.total)) is not None:
        yield GaugeMetricFamily("mcp_hub_tools_filter_ratio", "tools_filtered / tools.", value=hidden)
    flags = {"enabled": policy.in_force, "automatic": policy.automatic, "stale": counts.stale}
    for name, flag in flags.items():
        yield GaugeMetricFamily(f"mcp_hub_filtering_{name}", f"1 where the statistics say {name}.", value=float(flag))
    yield GaugeMetricFamily("mcp_hub_category_cache_size", "Definitions whose category is known.", value=counts.known)
    modes = GaugeMetricFamily("mcp_hub_filtering_mode", "1 for the filtering mode in force.", labels=["mode"])
    for mode in ("off", *MODES):
        modes.add_metric([mode], float((policy.mode or "off") == mode))
    rules = GaugeMetricFamily("mcp_hub_tools_by_rule", "Tools by the rule that decided.", labels=["rule", "allows"])
    for rule in counts.rules:
        rules.add_metric([rule.rule, str(rule.allows).lower()], rule.kinds[EntryKind.TOOL])
    sorts = GaugeMetricFamily(
        "mcp_hub_tools_by_rule_family", "Tools by the sort of rule that decided.", labels=["family", "allows"]
    )
    for name, (shown, hidden) in families(counts.rules).items():
        sorts.add_metric([name, "true"], shown)
        sorts.add_metric([name, "false"], hidden)
    categories = GaugeMetricFamily("mcp_hub_tools_by_category", "Tools by category.", labels=["category"])
    for category, tools in sorted(counts.categories.items()):
        categories.add_metric([category], tools)
    sources = GaugeMetricFamily(
        "mcp_hub_tools_by_category_source", "Tools by where their category comes from.", labels=["source"]
    )
    for source, tools in sorted(counts.sources.items()):
        sources.add_metric([source], tools)
    tokens = GaugeMetricFamily("mcp_hub_list_tokens", "About what a list of tools costs a model.", labels=["list"])
    for name, value in (("all", counts.cost.whole), ("exposed", counts.cost.exposed), ("start", counts.cost.at_start)):
        tokens.add_metric([name], value)
    yield from (modes, rules, sorts, categories, sources, tokens)
    if (saved := saved_at_start(counts)) is not None:
        yield GaugeMetricFamily("mcp_hub_list_tokens_saved_ratio", "1 - tokens at start / all tokens.", value=saved)


def view_families(views: Mapping[str, Counts]) -> Iterator[Metric]:
    """The same of each view, with its name as a label; nothing where the config has none."""
    if not views:
        return
    label = ["view"]
    exposed = GaugeMetricFamily("mcp_hub_view_tools_exposed", "Tools a view's policy allows.", labels=label)
    hidden = GaugeMetricFamily("mcp_hub_view_tools_filtered", "Tools a view's policy hides.", labels=label)
    at_start = GaugeMetricFamily("mcp_hub_view_tools_visible_at_start", "Of these, seen at first.", labels=label)
    rules = GaugeMetricFamily(
        "mcp_hub_view_tools_by_rule", "Tools by the rule of the view that decided.", labels=["view", "rule", "allows"]
    )
    tokens = GaugeMetricFamily(
        "mcp_hub_view_list_tokens", "About what a list of tools costs a model there.", labels=["view", "list"]
    )
    for name, counts in views.items():
        exposed.add_metric([name], counts.exposed)
        hidden.add_metric([name], counts.hidden)
        at_start.add_metric([name], counts.at_start)
        for rule in counts.rules:
            rules.add_metric([name, rule.rule, str(rule.allows).lower()], rule.kinds[EntryKind.TOOL])
        tokens.add_metric([name, "exposed"], counts.cost.exposed)
        tokens.add_metric([name, "start"], counts.cost.at_start)
    yield from (exposed, hidden, at_start, rules, tokens)
