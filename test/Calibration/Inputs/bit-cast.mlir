func.func @bits(%x: tensor<4xf16>) -> tensor<4xi16> {
  %0 = tacq.node "BitCast" opset 26 (%x) named "bits" {to = 5 : i64} : (tensor<4xf16>) -> tensor<4xi16>
  return %0 : tensor<4xi16>
}
