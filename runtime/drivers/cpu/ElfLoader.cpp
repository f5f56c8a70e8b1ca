//===- ElfLoader.cpp - Loads executables for the host ---------------------===//

#include "ElfLoader.h"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace tacq;

namespace {

#if defined(__x86_64__)
constexpr uint16_t kMachine = EM_X86_64;
constexpr uint32_t kRelative = R_X86_64_RELATIVE, kAbsolute = R_X86_64_64,
                   kGlobal = R_X86_64_GLOB_DAT, kJump = R_X86_64_JUMP_SLOT;
#elif defined(__aarch64__)
constexpr uint16_t kMachine = EM_AARCH64;
constexpr uint32_t kRelative = R_AARCH64_RELATIVE, kAbsolute = R_AARCH64_ABS64,
                   kGlobal = R_AARCH64_GLOB_DAT, kJump = R_AARCH64_JUMP_SLOT;
#else
constexpr uint16_t kMachine = EM_NONE;
constexpr uint32_t kRelative = 0, kAbsolute = 1, kGlobal = 2, kJump = 3;
#endif

constexpr uint64_t kMaxImage = uint64_t(1) << 30;

template <typename T> T readAs(const uint8_t *bytes) {
  T value;
  memcpy(&value, bytes, sizeof(T));
  return value;
}

unsigned long long ull(uint64_t value) { return value; }

} // namespace

Error LoadedElf::bad(const char *format, ...) const {
  char buffer[400];
  va_list list;
  va_start(list, format);
  vsnprintf(buffer, sizeof(buffer), format, list);
  va_end(list);
  return makeError(TACQ_INVALID_MODULE, "%s: %s", what.c_str(), buffer);
}

Error LoadedElf::load(const void *data, size_t size, const std::string &what,
                      std::unique_ptr<LoadedElf> &result) {
  std::unique_ptr<LoadedElf> elf(new LoadedElf());
  elf->what = what;
  if (Error error = elf->parse(static_cast<const uint8_t *>(data), size))
    return error;
  result = std::move(elf);
  return success();
}

LoadedElf::~LoadedElf() {
  if (image)
    munmap(image, imageSize);
}

bool LoadedElf::inside(uint64_t address, uint64_t size, uint32_t flags) const {
  return std::any_of(segments.begin(), segments.end(), [&](const Segment &segment) {
    return (segment.flags & flags) == flags && address >= segment.begin && address <= segment.end &&
           size <= segment.end - address;
  });
}

const char *LoadedElf::text(uint64_t offset) const {
  if (offset >= stringsSize)
    return nullptr;
  const char *start = reinterpret_cast<const char *>(image + strings + offset);
  return memchr(start, 0, stringsSize - offset) ? start : nullptr;
}

Error LoadedElf::parse(const uint8_t *data, size_t size) {
  if (size < sizeof(Elf64_Ehdr) || memcmp(data, ELFMAG, SELFMAG) != 0)
    return bad("the code is not an ELF file");
  auto header = readAs<Elf64_Ehdr>(data);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_ident[EI_VERSION] != EV_CURRENT)
    return bad("the ELF file is not 64-bit little-endian");
  if (header.e_type != ET_DYN)
    return bad("the ELF file is of type %u, not a shared object", header.e_type);
  if (header.e_machine != kMachine)
    return bad("the ELF file is for machine %u, this host is machine %u", header.e_machine,
               kMachine);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phoff > size ||
      header.e_phnum * sizeof(Elf64_Phdr) > size - header.e_phoff)
    return bad("the program headers lie outside of the ELF file");

  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t span = 0, dynamic = 0, dynamicSize = 0;
  std::vector<Elf64_Phdr> loads;
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    auto entry = readAs<Elf64_Phdr>(data + header.e_phoff + i * sizeof(Elf64_Phdr));
    if (entry.p_type == PT_TLS)
      return bad("thread-local storage is not allowed in kernels");
    if (entry.p_type == PT_INTERP)
      return bad("the ELF file asks for an interpreter");
    if (entry.p_type == PT_DYNAMIC) {
      dynamic = entry.p_vaddr;
      dynamicSize = entry.p_memsz;
    }
    if (entry.p_type != PT_LOAD || entry.p_memsz == 0)
      continue;
    if (entry.p_offset > size || entry.p_filesz > size - entry.p_offset)
      return bad("segment %u (offset %llu, %llu bytes) lies outside of the ELF file of %zu bytes",
                 i, ull(entry.p_offset), ull(entry.p_filesz), size);
    if (entry.p_filesz > entry.p_memsz || entry.p_vaddr > kMaxImage ||
        entry.p_memsz > kMaxImage - entry.p_vaddr)
      return bad("segment %u has %llu bytes at address %llu, which makes no sense", i,
                 ull(entry.p_memsz), ull(entry.p_vaddr));
    if ((entry.p_flags & PF_W) && (entry.p_flags & PF_X))
      return bad("segment %u is writable and executable", i);
    // Pages have one protection; linked for smaller pages, segments may share one.
    if (!loads.empty() && entry.p_vaddr / page * page < span)
      return bad("segment %u shares a page with the one before; it was linked for pages smaller "
                 "than the %llu bytes of this system",
                 i, ull(page));
    span = (entry.p_vaddr + entry.p_memsz + page - 1) / page * page;
    loads.push_back(entry);
  }
  if (loads.empty() || dynamicSize == 0)
    return bad("the ELF file has no segments or no dynamic section");

  void *memory = mmap(nullptr, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return makeError(TACQ_OUT_OF_MEMORY, "%s: %llu bytes for code cannot be mapped", what.c_str(),
                     ull(span));
  image = static_cast<uint8_t *>(memory);
  imageSize = span;
  for (const Elf64_Phdr &entry : loads) {
    memcpy(image + entry.p_vaddr, data + entry.p_offset, entry.p_filesz);
    segments.push_back({entry.p_vaddr, entry.p_vaddr + entry.p_memsz, entry.p_flags});
  }
  if (Error error = readDynamic(dynamic, dynamicSize))
    return error;
  return protect();
}

Error LoadedElf::readDynamic(uint64_t address, uint64_t size) {
  if (!inside(address, size, 0))
    return bad("the dynamic section lies outside of the segments");
  uint64_t rela = 0, relaSize = 0, jump = 0, jumpSize = 0, sysvHash = 0, gnuHash = 0;
  for (uint64_t at = address; at + sizeof(Elf64_Dyn) <= address + size; at += sizeof(Elf64_Dyn)) {
    auto entry = readAs<Elf64_Dyn>(image + at);
    if (entry.d_tag == DT_NULL)
      break;
    uint64_t value = entry.d_un.d_val;
    switch (entry.d_tag) {
    case DT_SYMTAB:
      symbols = value;
      break;
    case DT_STRTAB:
      strings = value;
      break;
    case DT_STRSZ:
      stringsSize = value;
      break;
    case DT_SYMENT:
      if (value != sizeof(Elf64_Sym))
        return bad("symbols have %llu bytes", ull(value));
      break;
    case DT_RELA:
      rela = value;
      break;
    case DT_RELASZ:
      relaSize = value;
      break;
    case DT_RELAENT:
      if (value != sizeof(Elf64_Rela))
        return bad("relocations have %llu bytes", ull(value));
      break;
    case DT_JMPREL:
      jump = value;
      break;
    case DT_PLTRELSZ:
      jumpSize = value;
      break;
    case DT_PLTREL:
      if (value != DT_RELA)
        return bad("relocations without addends are not supported");
      break;
    case DT_HASH:
      sysvHash = value;
      break;
    case DT_GNU_HASH:
      gnuHash = value;
      break;
    case DT_NEEDED:
      return bad("the code needs another library; kernels stand alone");
    case DT_TEXTREL:
      return bad("the code is not position independent (text relocations)");
    case DT_FLAGS:
      if (value & DF_TEXTREL)
        return bad("the code is not position independent (text relocations)");
      break;
    case DT_INIT:
    case DT_FINI:
    case DT_INIT_ARRAY:
    case DT_FINI_ARRAY:
    case DT_PREINIT_ARRAY:
      return bad("constructors and destructors are not allowed in kernels");
    case DT_REL:
    case 36: // DT_RELR, which older headers do not have
      return bad("relocations of type %s are not supported; link with -z nopack-relative-relocs",
                 entry.d_tag == DT_REL ? "REL" : "RELR");
    default:
      break;
    }
  }
  // Names are looked up after the pages got their protection.
  if (!inside(strings, stringsSize, PF_R) || stringsSize == 0)
    return bad("the string table lies outside of the segments");
  if (Error error = countSymbols(sysvHash, gnuHash))
    return error;
  if (Error error = relocate(rela, relaSize))
    return error;
  return relocate(jump, jumpSize);
}

/// The symbol table has no length of its own; the hash tables tell.
Error LoadedElf::countSymbols(uint64_t sysvHash, uint64_t gnuHash) {
  uint64_t count = 0;
  if (sysvHash) {
    if (!inside(sysvHash, 8, 0))
      return bad("the hash table lies outside of the segments");
    count = readAs<uint32_t>(image + sysvHash + 4);
  } else if (gnuHash) {
    if (!inside(gnuHash, 16, 0))
      return bad("the hash table lies outside of the segments");
    uint64_t buckets = readAs<uint32_t>(image + gnuHash);
    uint64_t first = readAs<uint32_t>(image + gnuHash + 4);
    uint64_t bloom = readAs<uint32_t>(image + gnuHash + 8);
    uint64_t bucketsAt = gnuHash + 16 + bloom * 8, chains = bucketsAt + buckets * 4;
    if (!inside(bucketsAt, buckets * 4, 0))
      return bad("the hash table lies outside of the segments");
    uint64_t last = 0;
    for (uint64_t i = 0; i < buckets; ++i)
      last = std::max<uint64_t>(last, readAs<uint32_t>(image + bucketsAt + i * 4));
    count = first;
    if (last != 0) {
      if (last < first)
        return bad("the hash table is damaged");
      for (;; ++last) {
        if (!inside(chains + (last - first) * 4, 4, 0))
          return bad("the hash table is damaged");
        if (readAs<uint32_t>(image + chains + (last - first) * 4) & 1)
          break;
      }
      count = last + 1;
    }
  } else
    return bad("the ELF file has no hash table");
  if (count > kMaxImage / sizeof(Elf64_Sym) || !inside(symbols, count * sizeof(Elf64_Sym), PF_R))
    return bad("the symbol table of %llu entries lies outside of the segments", ull(count));
  symbolCount = static_cast<uint32_t>(count);
  return success();
}

Error LoadedElf::symbolValue(uint32_t index, uint64_t &value) const {
  if (index >= symbolCount)
    return bad("a relocation names symbol %u of %u", index, symbolCount);
  auto symbol = readAs<Elf64_Sym>(image + symbols + index * sizeof(Elf64_Sym));
  const char *name = text(symbol.st_name);
  if (!name)
    return bad("symbol %u has no valid name", index);
  if (symbol.st_shndx != SHN_UNDEF) {
    if (ELF64_ST_TYPE(symbol.st_info) == STT_GNU_IFUNC ||
        ELF64_ST_TYPE(symbol.st_info) == STT_TLS || !inside(symbol.st_value, 0, 0))
      return bad("symbol '%s' is of a kind that is not supported", name);
    value = reinterpret_cast<uint64_t>(image) + symbol.st_value;
    return success();
  }
  value = reinterpret_cast<uint64_t>(findImport(name));
  if (value == 0 && ELF64_ST_BIND(symbol.st_info) != STB_WEAK)
    return bad("the code imports '%s', which is not among the functions that kernels may use",
               name);
  return success();
}

Error LoadedElf::relocate(uint64_t address, uint64_t size) {
  if (size == 0)
    return success();
  if (!inside(address, size, 0) || size % sizeof(Elf64_Rela) != 0)
    return bad("the relocations lie outside of the segments");
  for (uint64_t at = address; at < address + size; at += sizeof(Elf64_Rela)) {
    auto entry = readAs<Elf64_Rela>(image + at);
    uint32_t type = ELF64_R_TYPE(entry.r_info);
    if (type == 0)
      continue;
    if (!inside(entry.r_offset, 8, PF_W))
      return bad("a relocation changes address %llu, which is not writable data",
                 ull(entry.r_offset));
    uint64_t value;
    if (type == kRelative)
      value = reinterpret_cast<uint64_t>(image) + static_cast<uint64_t>(entry.r_addend);
    else if (type == kAbsolute || type == kGlobal || type == kJump) {
      if (Error error = symbolValue(ELF64_R_SYM(entry.r_info), value))
        return error;
      // On x86-64 the addend of GLOB_DAT and JUMP_SLOT is defined to be ignored; it is 0.
      value += static_cast<uint64_t>(entry.r_addend);
    } else
      return bad("a relocation has type %u, which is not supported", type);
    memcpy(image + entry.r_offset, &value, sizeof(value));
  }
  return success();
}

Error LoadedElf::protect() {
  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t end = 0;
  auto set = [&](uint64_t from, uint64_t to, int protection) {
    return from >= to || mprotect(image + from, to - from, protection) == 0;
  };
  bool done = true;
  for (const Segment &segment : segments) {
    uint64_t from = segment.begin / page * page, to = (segment.end + page - 1) / page * page;
    int protection = ((segment.flags & PF_R) ? PROT_READ : 0) |
                     ((segment.flags & PF_W) ? PROT_WRITE : 0) |
                     ((segment.flags & PF_X) ? PROT_EXEC | PROT_READ : 0);
    done = done && set(end, from, PROT_NONE) && set(from, to, protection);
    end = to;
  }
  if (!done)
    return makeError(TACQ_UNSUPPORTED, "%s: the system does not allow to map code: %s",
                     what.c_str(), strerror(errno));
  __builtin___clear_cache(reinterpret_cast<char *>(image),
                          reinterpret_cast<char *>(image + imageSize));
  return success();
}

void *LoadedElf::function(const char *name) const {
  for (uint32_t i = 0; i < symbolCount; ++i) {
    auto symbol = readAs<Elf64_Sym>(image + symbols + i * sizeof(Elf64_Sym));
    if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
      continue;
    const char *symbolName = text(symbol.st_name);
    if (symbolName && strcmp(symbolName, name) == 0)
      return inside(symbol.st_value, 1, PF_X) ? image + symbol.st_value : nullptr;
  }
  return nullptr;
}
