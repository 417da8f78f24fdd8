"""Fifty calls that do nothing, each kept."""

import joblib

memory = joblib.Memory(".joblib", verbose=0)


@memory.cache
def nothing(number):
    return number + 1


if __name__ == "__main__":
    number = 0
    for _ in range(50):
        number = nothing(number)
    print("RESULT", number)
