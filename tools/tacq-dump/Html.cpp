//===- Html.cpp - Text for HTML -------------------------------------------===//

#include "Html.h"

#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/raw_ostream.h"

using namespace tacq;

/// Controls but white space, and noncharacters.
static bool isAllowed(llvm::UTF32 code) {
  if (code < 0x20)
    return code == '\t' || code == '\n';
  return (code < 0x7f || code > 0x9f) && (code & 0xfffe) != 0xfffe &&
         (code < 0xfdd0 || code > 0xfdef);
}

llvm::raw_ostream &tools::operator<<(llvm::raw_ostream &os, Escaped escaped) {
  const auto *at = reinterpret_cast<const llvm::UTF8 *>(escaped.text.begin());
  const auto *end = reinterpret_cast<const llvm::UTF8 *>(escaped.text.end());
  while (at != end) {
    const llvm::UTF8 *begin = at;
    llvm::UTF32 code = 0;
    if (llvm::convertUTF8Sequence(&at, end, &code, llvm::strictConversion) != llvm::conversionOK) {
      at = begin + 1;
      code = 0;
    }
    switch (code) {
    case '&':
      os << "&amp;";
      break;
    case '<':
      os << "&lt;";
      break;
    case '>':
      os << "&gt;";
      break;
    case '"':
      os << "&quot;";
      break;
    case '\'':
      os << "&#39;";
      break;
    default:
      if (isAllowed(code))
        os << llvm::StringRef(reinterpret_cast<const char *>(begin), at - begin);
      else
        os << "\xef\xbf\xbd";
    }
  }
  return os;
}
