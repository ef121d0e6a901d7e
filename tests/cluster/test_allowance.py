from allowance import Allowance


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def after(allowance, clock, *steps):
    answers = []
    for step in steps:
        clock.now += step
        answers.append(allowance.used_up())
    return answers


def test_time_that_is_looked_at_counts():
    clock = Clock()
    assert after(Allowance(10, clock), clock, 4, 4, 1.9, 0.1) == [False, False, False, True]


def test_a_machine_that_stood_still_uses_nothing_up():
    clock = Clock()
    allowance = Allowance(10, clock)
    assert after(allowance, clock, 1, 3600, 3) == [False, False, False]
    assert allowance.stood_still == 3595
    assert after(allowance, clock, 1) == [True]
