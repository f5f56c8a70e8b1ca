//===- tidy-scope.cpp - clang-tidy without what is included ---------------===//
//
// A plugin of clang-tidy. Its checks go through all declarations of a file, those of MLIR's headers
// and of the precompiled header too, though findings there are never shown: nine tenths of the
// time. The check tacq-scope finds nothing. It is called for the translation unit, where all checks
// begin, and leaves to them the declarations that are not in system headers.
//
//===----------------------------------------------------------------------===//

#include "clang-tidy/ClangTidyCheck.h"
#include "clang-tidy/ClangTidyModule.h"
#include "clang-tidy/ClangTidyModuleRegistry.h"
#include "clang/AST/ASTContext.h"
#include "clang/ASTMatchers/ASTMatchFinder.h"
#include "clang/ASTMatchers/ASTMatchers.h"

using namespace clang;

namespace {

class ScopeCheck : public tidy::ClangTidyCheck {
public:
  using ClangTidyCheck::ClangTidyCheck;

  void registerMatchers(ast_matchers::MatchFinder *finder) override {
    finder->addMatcher(ast_matchers::translationUnitDecl().bind("unit"), this);
  }

  void check(const ast_matchers::MatchFinder::MatchResult &result) override {
    const auto *unit = result.Nodes.getNodeAs<TranslationUnitDecl>("unit");
    std::vector<Decl *> scope;
    // What is not loaded is in the precompiled header.
    for (Decl *decl : unit->noload_decls())
      if (!decl->isFromASTFile() && !decl->isImplicit() &&
          !result.SourceManager->isInSystemHeader(decl->getLocation()))
        scope.push_back(decl);
    if (!scope.empty())
      result.Context->setTraversalScope(scope);
  }
};

class ScopeModule : public tidy::ClangTidyModule {
public:
  void addCheckFactories(tidy::ClangTidyCheckFactories &factories) override {
    factories.registerCheck<ScopeCheck>("tacq-scope");
  }
};

} // namespace

static tidy::ClangTidyModuleRegistry::Add<ScopeModule> scopeModule("tacq-scope-module",
                                                                   "The scope of checks.");
