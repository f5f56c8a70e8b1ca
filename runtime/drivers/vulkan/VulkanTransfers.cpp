//===- VulkanTransfers.cpp - Between the host and a device's memory -------===//
//
// Memory that the host sees is written where it is. What it does not see is written through a ring
// of pieces: while the device copies one, the host fills the next.
//
//===----------------------------------------------------------------------===//

#include "VulkanDevice.h"

#include <algorithm>
#include <cstring>

using namespace tacq;

namespace {

/// Of a piece of the ring, and of what is read at once.
constexpr int64_t kPieceBytes = int64_t(8) << 20;
/// Reads of so few bytes do not pay a transfer.
constexpr int64_t kSmallRead = 64;

} // namespace

void VulkanDevice::releaseRing() {
  for (StagingPiece &piece : ring) {
    release(piece.buffer);
    freeCommandBuffer(piece.commands);
    piece = StagingPiece();
  }
}

/// The piece of the ring that was used first, when the device is done with it.
Error VulkanDevice::nextPiece(StagingPiece *&piece) {
  piece = &ring[nextInRing];
  nextInRing = (nextInRing + 1) % ring.size();
  if (Error error = queue.wait(piece->submission))
    return error;
  if (!piece->buffer.buffer)
    if (Error error = allocate(kPieceBytes, Use::Host, piece->buffer))
      return error;
  return piece->commands ? success() : makeCommandBuffer(piece->commands);
}

Error VulkanDevice::upload(VulkanBuffer &to, int64_t offset, const void *data, int64_t size) {
  const auto *bytes = static_cast<const uint8_t *>(data);
  to.mirrored = 0;
  if (to.mapped) {
    memcpy(to.mapped + offset, bytes, static_cast<size_t>(size));
    return success();
  }
  for (int64_t at = 0; at < size; at += kPieceBytes) {
    int64_t count = std::min(size - at, kPieceBytes);
    StagingPiece *piece;
    if (Error error = nextPiece(piece))
      return error;
    memcpy(piece->buffer.mapped, bytes + at, static_cast<size_t>(count));
    if (Error error = begin(piece->commands))
      return error;
    VkBufferCopy region = {0, static_cast<VkDeviceSize>(offset + at),
                           static_cast<VkDeviceSize>(count)};
    api.CmdCopyBuffer(piece->commands, piece->buffer.buffer, to.buffer, 1, &region);
    if (Error error = end(piece->commands))
      return error;
    if (Error error = queue.submit(piece->commands, piece->submission))
      return error;
  }
  return success();
}

Error VulkanDevice::write(VulkanBuffer &to, int64_t offset, const void *data, int64_t size) {
  if (Error error = upload(to, offset, data, size))
    return error;
  return to.mapped ? success() : queue.waitForAll();
}

Error VulkanDevice::copy(VulkanBuffer &to, int64_t toOffset, VulkanBuffer &from, int64_t fromOffset,
                         int64_t size) {
  if (size <= 0)
    return success();
  bool overlaps =
      to.buffer == from.buffer && toOffset < fromOffset + size && fromOffset < toOffset + size;
  to.mirrored = 0;
  if (to.readable && from.readable) {
    memmove(to.mapped + toOffset, from.mapped + fromOffset, static_cast<size_t>(size));
    return success();
  }
  if (overlaps) {
    VulkanBuffer temporary;
    if (Error error = allocate(size, Use::Device, temporary))
      return error;
    Error error = copy(temporary, 0, from, fromOffset, size);
    if (!error)
      error = copy(to, toOffset, temporary, 0, size);
    release(temporary);
    return error;
  }
  if (Error error = begin(transfers))
    return error;
  VkBufferCopy region = {static_cast<VkDeviceSize>(fromOffset), static_cast<VkDeviceSize>(toOffset),
                         static_cast<VkDeviceSize>(size)};
  api.CmdCopyBuffer(transfers, from.buffer, to.buffer, 1, &region);
  return submit(transfers);
}

Error VulkanDevice::read(void *data, VulkanBuffer &from, int64_t offset, int64_t size) {
  auto *bytes = static_cast<uint8_t *>(data);
  from.wasRead = true;
  if (from.mirror && offset + size <= from.mirrored) {
    memcpy(bytes, from.mirror->mapped + offset, static_cast<size_t>(size));
    return success();
  }
  if (from.readable || (from.mapped && size <= kSmallRead)) {
    memcpy(bytes, from.mapped + offset, static_cast<size_t>(size));
    return success();
  }
  for (int64_t at = 0; at < size; at += kPieceBytes) {
    int64_t count = std::min(size - at, kPieceBytes);
    StagingPiece *piece;
    if (Error error = nextPiece(piece))
      return error;
    if (Error error = copy(piece->buffer, 0, from, offset + at, count))
      return error;
    memcpy(bytes + at, piece->buffer.mapped, static_cast<size_t>(count));
  }
  return success();
}
