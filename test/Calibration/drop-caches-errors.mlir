// RUN: tacq-opt %s --tacq-drop-caches --split-input-file --verify-diagnostics

!x = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x4x8xf32, #tacq.shape<["b", "2", "4", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "s + 4", "8"]>>

func.func @fixed_past(%q: !x, %pk: !past, %pv: !past) -> (!x, !present, !present) {
  // expected-error @+1 {{unsupported node 'a' (attention): it cannot be calibrated without its cache: the extent of its past is no named dimension}}
  %out, %present:2 = tacq.attention %q, %q, %q past(%pk, %pv) {node_name = "a", scale = 0.5 : f64} : (!x, !x, !x, !past, !past) -> (!x, !present, !present)
  return %out, %present#0, %present#1 : !x, !present, !present
}

// -----

!x = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>

func.func @used_twice(%q: !x, %pk: !past) -> (!x, !present, !present) {
  // expected-error @+1 {{its cache: other nodes use its past too}}
  %out, %present:2 = tacq.attention %q, %q, %q past(%pk, %pk) {node_name = "a", scale = 0.5 : f64} : (!x, !x, !x, !past, !past) -> (!x, !present, !present)
  return %out, %present#0, %present#1 : !x, !present, !present
}

// -----

!x = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>

func.func @computed_past(%q: !x, %pk: !past, %pv: !past) -> (!x, !present, !present) {
  %half = tacq.node "Abs" opset 18 (%pk) named "n" : (!past) -> !past
  // expected-error @+1 {{its cache: its past is not an input of the model}}
  %out, %present:2 = tacq.attention %q, %q, %q past(%half, %pv) {node_name = "a", scale = 0.5 : f64} : (!x, !x, !x, !past, !past) -> (!x, !present, !present)
  return %out, %present#0, %present#1 : !x, !present, !present
}

// -----

!x = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>

func.func @used_present(%q: !x, %pk: !past, %pv: !past) -> (!x, !present) {
  // expected-error @+1 {{its cache: node 'n' uses its present keys or values}}
  %out, %present:2 = tacq.attention %q, %q, %q past(%pk, %pv) {node_name = "a", scale = 0.5 : f64} : (!x, !x, !x, !past, !past) -> (!x, !present, !present)
  %abs = tacq.node "Abs" opset 18 (%present#0) named "n" : (!present) -> !present
  return %out, %abs : !x, !present
}

// -----

!x = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "s", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>

func.func @no_attention(%k: !x, %past: !past {tacq.name = "past_state.0"}) -> !present {
  // expected-error @+1 {{unsupported node 'grow' (Concat): it reads the cache 'past_state.0' outside of an attention}}
  %all = tacq.node "Concat" opset 18 (%past, %k) named "grow" {axis = 2 : i64} : (!past, !x) -> !present
  return %all : !present
}
