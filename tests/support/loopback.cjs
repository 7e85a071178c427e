// node -r tests/support/loopback.cjs …: whatever listens, listens on 127.0.0.1 and nowhere else.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (where, ...rest) {
  if (where !== null && typeof where === "object") {
    return listen.call(this, { ...where, host: "127.0.0.1" }, ...rest);
  }
  const behind = rest.filter((argument) => typeof argument === "function");
  return listen.call(this, where, "127.0.0.1", ...behind);
};
