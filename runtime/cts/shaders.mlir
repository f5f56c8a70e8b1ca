// Kernels of the conformance suite for devices that run shaders, in the compiler's form: they do what
// those of runtime/test/kernels.c do. The values of a dispatch's symbols come in this order:
//   add_f32: n
//   gather:  n, rows, node, 4 * n

!vector = tensor<?xf32, #tacq.shape<["n"]>>
func.func @add_f32(%a: !vector, %b: !vector) -> !vector {
  %sum = tacq.node "Add" opset 14 (%a, %b) named "add" : (!vector, !vector) -> !vector
  return %sum : !vector
}

!table = tensor<?x4xf32, #tacq.shape<["rows", "4"]>>
!places = tensor<?xi64, #tacq.shape<["n"]>>
!rows = tensor<?x4xf32, #tacq.shape<["n", "4"]>>
func.func @gather(%table: !table, %places: !places) -> !rows {
  %rows = tacq.node "Gather" opset 13 (%table, %places) named "gather" : (!table, !places) -> !rows
  return %rows : !rows
}
