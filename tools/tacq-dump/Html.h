//===- Html.h - Text for HTML -----------------------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_HTML_H
#define TACQ_TOOLS_HTML_H

#include "llvm/ADT/StringRef.h"

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace tacq::tools {

/// Text of users between tags or inside of a quoted attribute: markup is escaped; what is no UTF-8
/// and what HTML does not allow becomes U+FFFD.
struct Escaped {
  llvm::StringRef text;
};
llvm::raw_ostream &operator<<(llvm::raw_ostream &os, Escaped escaped);

} // namespace tacq::tools

#endif // TACQ_TOOLS_HTML_H
