"""Fifty calls that do nothing."""


def nothing(number):
    return number + 1


if __name__ == "__main__":
    number = 0
    for _ in range(50):
        number = nothing(number)
    print("RESULT", number)
