//===- ReportStyle.h - How a report looks -----------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_REPORTSTYLE_H
#define TACQ_TOOLS_REPORTSTYLE_H

namespace tacq::tools {

/// Text has a contrast of at least 4.5 to what is behind it, on the strongest colour of a map as
/// well, in light and in dark.
constexpr char reportStyle[] = R"css(
:root { color-scheme: light dark; --page: #ffffff; --text: #1a1a1a; --soft: #595959;
  --line: #c8c8c8; --heat: 235 130 20; --bar: #b9cfee; --b2: #1f5fb4; --b3: #a4470a; --b4: #1e6f3c;
  --b8: #6b4fa0; --mixed: #b01457; }
@media (prefers-color-scheme: dark) { :root { --page: #161616; --text: #ededed; --soft: #ababab;
  --line: #4a4a4a; --heat: 160 82 0; --bar: #2b4a73; --b2: #7db2ff; --b3: #f0a060; --b4: #74c98f;
  --b8: #b9a2f0; --mixed: #ff7db1; } }
body { background: var(--page); color: var(--text); font: 15px/1.45 system-ui, sans-serif;
  max-width: 1280px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5em; overflow-wrap: anywhere; } h2 { font-size: 1.2em; margin-top: 2em; }
h3 { font-size: 1em; margin-bottom: 0.2em; }
p, dd { max-width: 75ch; overflow-wrap: anywhere; } .soft, caption, dt { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; }
dd { margin: 0; } caption { text-align: left; padding: 16px 0 4px; max-width: 90ch; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid var(--b2); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 8px; text-align: right; white-space: nowrap; }
th { font-weight: 600; } thead th { border-bottom: 1px solid var(--line); vertical-align: bottom; }
th[scope=row], .left { text-align: left; }
.name { font-family: monospace; font-weight: 400; }
.heat { background: rgb(var(--heat) / calc(var(--part) * 1)); border: 1px solid var(--page); }
.sum { color: var(--soft); } tfoot td, tfoot th { border-top: 1px solid var(--line); }
.bar { background: linear-gradient(to left, var(--bar) calc(var(--part) * 100%), transparent 0); }
.chosen { font-weight: 700; }
svg { width: 100%; max-width: 760px; height: auto; display: block; }
svg text { fill: var(--text); font-size: 12px;
  paint-order: stroke; stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; } .grid { stroke: var(--line); fill: none; }
.frontier { fill: none; stroke: var(--text); stroke-width: 1.5; }
circle.measured { fill: var(--text); stroke: none; }
circle.chosen { fill: none; stroke: var(--text); stroke-width: 2; }
.b2 { fill: var(--b2); } .b3 { fill: var(--b3); } .b4 { fill: var(--b4); } .b8 { fill: var(--b8); }
.mixed { fill: var(--mixed); } .key svg { display: inline-block; width: 16px; height: 16px;
  vertical-align: -3px; }
)css";

} // namespace tacq::tools

#endif // TACQ_TOOLS_REPORTSTYLE_H
