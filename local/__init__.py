"""AWS on a laptop: the parts of AWS that the service uses, a producer of rides, and the demo.

`aws` imports no other module of this package; the modules beside it import `aws`, and `demo` may
import all of them.  The service does not import this package.
"""
