"""What a server writes without end is logged in part, and the log says how much is missing."""

from hub_gateway.upstreams.transports.log_budget import LogBudget


def test_so_many_lines_pass_in_each_period() -> None:
    budget = LogBudget(lines=3, period_s=10.0)
    assert [budget.take(now) for now in (0.0, 1.0, 2.0, 3.0, 9.9)] == [0, 0, 0, None, None]
    assert [budget.take(now) for now in (10.0, 10.1, 10.2, 10.3)] == [2, 0, 0, None]
    assert budget.take(60.0) == 1


def test_a_quiet_server_loses_nothing() -> None:
    budget = LogBudget(lines=1, period_s=1.0)
    assert [budget.take(float(second)) for second in range(50)] == [0] * 50
