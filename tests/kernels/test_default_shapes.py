from linbench.suites.kernels.options import KernelOptions


def test_on_the_cpu_one_shape_stands_for_an_operator_unless_all_are_asked_for():
    short, everything = (KernelOptions(shapes=shapes) for shapes in ((), ("all",)))
    operators = [case.operator for case, _ in short.cases()]
    assert len(operators) == len(set(operators))
    assert set(operators) == {case.operator for case, _ in everything.cases()}
    assert {"vim-s 1024", "rwkvsam-s 1024"} <= {case.name for case, _ in short.cases()}
    assert len(everything.cases()) == len(KernelOptions(device="cuda").cases()) > 2 * len(operators)
