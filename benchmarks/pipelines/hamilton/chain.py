"""Fifty nodes that do nothing."""

if __name__ == "__main__":
    from hamilton import ad_hoc_utils, driver

    functions = []
    for number in range(50):
        before = f"step_{number - 1}: int" if number else ""
        source = f"def step_{number}({before}) -> int:\n    return {f'step_{number - 1}' if number else 0} + 1\n"
        names: dict = {}
        exec(source, names)
        functions.append(names[f"step_{number}"])
    module = ad_hoc_utils.create_temporary_module(*functions, module_name="chain_nodes")
    made = driver.Builder().with_modules(module).build()
    print("RESULT", made.execute(["step_49"])["step_49"])
