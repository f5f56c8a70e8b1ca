//===- AssertOk.h - Functions that must not fail ----------------*- C++ -*-===//

#ifndef TACQ_TEST_ASSERTOK_H
#define TACQ_TEST_ASSERTOK_H

#include "tacq/Error.h"
#include "gtest/gtest.h"

/// Ends the test with the message of the tacq::Error that the expression gives.
#define ASSERT_OK(expression)                                                                      \
  do {                                                                                             \
    tacq::Error error_ = (expression);                                                             \
    ASSERT_FALSE(error_) << error_.message();                                                      \
  } while (false)

#endif // TACQ_TEST_ASSERTOK_H
