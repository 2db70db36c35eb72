import adapter from "@sveltejs/adapter-node";

/** Serves compressed copies where there are some; `build.mjs` makes them, much faster than the adapter would. */
function nodeAdapter() {
  const node = adapter({ out: "build", precompress: true });
  const adapt = (builder) => node.adapt(Object.create(builder, { compress: { value: async () => {} } }));
  return { ...node, adapt };
}

/** @type {import("@sveltejs/kit").Config} */
export default {
  kit: {
    adapter: nodeAdapter(),
    alias: { $service: "src" },
    files: {
      appTemplate: "app/app.html",
      assets: "app/static",
      errorTemplate: "app/error.html",
      hooks: { server: "app/hooks.server" },
      lib: "app/lib",
      routes: "app/routes",
      serviceWorker: "app/service-worker",
    },
    csp: {
      // Hashes, not nonces: a page is kept for a while, and a nonce must not be used twice.
      mode: "hash",
      directives: {
        "default-src": ["none"],
        "script-src": ["self"],
        "style-src": ["self"],
        // The one style attribute there is: SvelteKit's, which hides what it reads out to screen readers.
        "style-src-attr": ["unsafe-hashes", "sha256-S8qMpvofolR8Mpjy4kQvEm7m1q8clzU4dfDH0AmvZjo="],
        "img-src": ["self", "data:"],
        "connect-src": ["self"],
        "worker-src": ["self"],
        "manifest-src": ["self"],
        "form-action": ["self"],
        "base-uri": ["none"],
        "frame-ancestors": ["none"],
      },
    },
    // The request guard checks origins, and lets mail programs unsubscribe.
    csrf: { trustedOrigins: ["*"] },
    output: { preloadStrategy: "modulepreload" },
  },
};
