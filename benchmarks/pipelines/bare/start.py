"""One call that does nothing."""


def nothing(number):
    return number + 1


if __name__ == "__main__":
    number = 0
    number = nothing(number)
    print("RESULT", number)
